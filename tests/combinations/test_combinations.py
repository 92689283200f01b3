"""Ensembles and model soups on numbers that can be computed by hand."""

from __future__ import annotations

import pytest
import torch

from afield.combinations import COMBINATIONS, Ensemble, GreedySoup, Soup, average, mean_logits
from afield.combinations.soup import DECAYS, DROPOUTS, RATES
from afield.errors import InputError
from afield.settings import TrainConfig


def test_an_average_of_weights_is_the_mean_of_each_of_them():
    states = [
        {"weight": torch.tensor([1.0, -2.0]), "mean": torch.tensor(3.0), "count": torch.tensor(7)},
        {"weight": torch.tensor([2.0, 0.0]), "mean": torch.tensor(1.0), "count": torch.tensor(9)},
        {"weight": torch.tensor([6.0, 5.0]), "mean": torch.tensor(-1.0), "count": torch.tensor(9)},
    ]
    found = average(states)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"weight": [3.0, 1.0], "mean": 1.0, "count": 7}
    assert [tensor.dtype for tensor in found.values()] == [torch.float32, torch.float32, torch.int64]
    assert torch.equal(average(states[:1])["weight"], states[0]["weight"])


@pytest.mark.parametrize("other", [{"bias": torch.zeros(2)}, {"weight": torch.zeros(3)}])
def test_weights_of_different_networks_are_not_averaged(other):
    with pytest.raises(ValueError, match="same weights by name and shape"):
        average([{"weight": torch.zeros(2)}, other])


def test_the_probabilities_of_an_ensemble_are_the_mean_of_the_softmax():
    logits = [torch.log(torch.tensor([[0.5, 0.25, 0.25]])), torch.log(torch.tensor([[0.1, 0.1, 0.8]])) + 5]
    torch.testing.assert_close(mean_logits(logits).softmax(dim=1), torch.tensor([[0.3, 0.175, 0.525]]))
    torch.testing.assert_close(mean_logits(logits).exp(), torch.tensor([[0.3, 0.175, 0.525]]))
    assert mean_logits([torch.tensor([[1000.0, 0.0]])] * 2).tolist() == [[0.0, -1000.0]]


def test_a_greedy_soup_adds_members_from_the_best_on_if_the_average_does_not_fall():
    tried = []

    def value_of(numbers):
        tried.append(list(numbers))
        return {(1, 3): 0.8, (1, 3, 0): 0.85, (1, 3, 0, 4): 0.84, (1, 3, 0, 2): 0.85}[tuple(numbers)]

    # Member 3 equals the best one, and is kept, because 0.8 is no fall; 4 is not kept, but 2 is still tried.
    assert GreedySoup(members=5).choose([0.7, 0.8, 0.1, 0.75, 0.6], value_of) == [1, 3, 0, 2]
    assert tried == [[1, 3], [1, 3, 0], [1, 3, 0, 4], [1, 3, 0, 2]]


def test_a_greedy_soup_of_members_that_do_not_average_is_the_best_of_them():
    assert GreedySoup(members=3).choose([0.5, 0.6, 0.6], lambda numbers: 0.59) == [1]
    tried = []
    GreedySoup(members=3).choose([0.6, 0.6, 0.6], lambda numbers: tried.append(list(numbers)) or 0.7)
    assert tried == [[0, 1], [0, 1, 2]]


def test_a_uniform_soup_has_all_members():
    assert Soup(members=3).choose([0.1, 0.9, 0.5], lambda numbers: pytest.fail("nothing is measured")) == [0, 1, 2]


def test_members_of_a_soup_draw_their_settings_and_the_first_has_those_of_the_recipe():
    soup, training = Soup(members=9), TrainConfig(learning_rate=0.03)
    assert (RATES.values, DROPOUTS.values, DECAYS.values) == ((0.2, 0.6, 1.0), (0.0, 0.1, 0.5), (1e-6, 1e-4))
    assert soup.settings(training, 0, 0) == {}
    drawn = [soup.settings(training, seed, number) for seed in range(2) for number in range(1, 9)]
    assert {each["learning_rate"] for each in drawn} == {0.006, 0.018, 0.03}
    assert {each["dropout"] for each in drawn} == {0.0, 0.1, 0.5}
    assert {each["weight_decay"] for each in drawn} == {1e-6, 1e-4}
    assert drawn[:8] != drawn[8:]
    assert soup.settings(training, 1, 3) == soup.settings(training, 1, 3)
    assert Soup(members=9, draw=False).settings(training, 0, 1) == {}
    assert Ensemble(members=9).settings(training, 0, 1) == {}


@pytest.mark.parametrize("name", COMBINATIONS.names)
def test_a_combination_has_2_to_100_members_and_6_by_default(name):
    assert COMBINATIONS[name]().members == 6
    assert [COMBINATIONS[name](members=count).members for count in (2, 100)] == [2, 100]
    for wrong in (1, 101, 2.0):
        with pytest.raises(InputError, match="members must be a whole number between 2 and 100"):
            COMBINATIONS[name](members=wrong)
