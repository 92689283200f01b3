"""Exact marginals in chains, and what they choose."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from afield.labeling import Pool, entropy, structured
from afield.labeling.potts import PottsChains

COUPLING = 1.3


def enumerated(probabilities: np.ndarray, sequences: np.ndarray, coupling: float) -> np.ndarray:
    """Marginals by the sum over all joint states."""
    length, classes = probabilities.shape
    total = np.zeros_like(probabilities)
    for state in product(range(classes), repeat=length):
        weight = np.prod([probabilities[t, y] for t, y in enumerate(state)])
        pairs = [t for t in range(length - 1) if sequences[t] == sequences[t + 1] and state[t] == state[t + 1]]
        for t, y in enumerate(state):
            total[t, y] += weight * np.exp(coupling * len(pairs))
    return total / total.sum(axis=1, keepdims=True)


@pytest.fixture
def probabilities() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(3), size=7)


def test_marginals_are_those_of_enumeration_before_and_after_labels(probabilities):
    sequences = np.array([0, 0, 0, 0, 1, 1, 1])
    chains = PottsChains(probabilities, sequences, COUPLING)
    np.testing.assert_allclose(chains.marginals, enumerated(probabilities, sequences, COUPLING), atol=1e-12)
    for t, label in ((2, 1), (6, 0), (0, 2)):
        probabilities[t] = np.eye(3)[label]
        chains.observe(t, label)
        np.testing.assert_allclose(chains.marginals, enumerated(probabilities, sequences, COUPLING), atol=1e-12)


def test_two_coupled_variables_by_hand():
    # p = (0.8, 0.2) and (0.5, 0.5), equal neighbors twice as probable: 0.8 2 + 0.8 1 : 0.2 1 + 0.2 2 stays 0.8;
    # the second: 0.5 (0.8 2 + 0.2) : 0.5 (0.8 + 0.2 2) = 1.8 : 1.2
    chains = PottsChains(np.array([[0.8, 0.2], [0.5, 0.5]]), np.zeros(2, dtype=np.int64), np.log(2))
    np.testing.assert_allclose(chains.marginals, [[0.8, 0.2], [0.6, 0.4]])


def test_a_label_changes_its_own_sequence_only_and_says_which_rows(probabilities):
    chains = PottsChains(probabilities, np.array([0, 0, 0, 0, 1, 1, 1]), COUPLING)
    before = chains.marginals.copy()
    assert chains.observe(1, 0) == (0, 4)
    np.testing.assert_array_equal(chains.marginals[4:], before[4:])


def test_the_effect_of_a_label_ends_in_a_long_sequence_and_stays_exact():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(3), size=400)
    sequence = np.zeros(400, dtype=np.int64)
    chains = PottsChains(probabilities, sequence, 0.5)
    start, stop = chains.observe(200, 1)
    assert 100 < start < 200 < stop < 300
    probabilities[200] = [0, 1, 0]
    np.testing.assert_allclose(chains.marginals, PottsChains(probabilities, sequence, 0.5).marginals, atol=1e-11)


def test_a_sequence_is_not_labeled_twice_while_another_is_unsure():
    unsure, less = [0.0, 0.1], [0.0, 0.6]
    logits = torch.tensor([unsure, unsure, unsure, less, less, less])
    pool = Pool(torch.zeros(6, 1), logits, sequences=torch.tensor([0, 0, 0, 1, 1, 1]))
    generator = torch.Generator()
    assert entropy(pool, 3, generator).tolist() == [0, 1, 2]
    first, second = structured(pool, 2, generator, coupling=3.0).tolist()
    assert first in (0, 1, 2)
    assert second in (3, 4, 5)


def test_a_known_label_informs_its_neighbor():
    pool = Pool(
        torch.zeros(4, 1),
        torch.zeros(4, 2),
        labeled=torch.tensor([True, False, False, False]),
        labels=torch.tensor([1, -1, -1, -1]),
        sequences=torch.tensor([0, 0, 1, 1]),
    )
    assert structured(pool, 1, torch.Generator()).tolist() == [2]


def test_sequences_can_be_interleaved():
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    mixed = Pool(torch.zeros(8, 1), logits, sequences=torch.arange(8) % 2)
    grouped = Pool(torch.zeros(8, 1), logits[order], sequences=torch.arange(8) // 4)
    generator = torch.Generator()
    assert structured(mixed, 8, generator).tolist() == order[structured(grouped, 8, generator)].tolist()


def test_without_sequences_or_coupling_it_is_maximum_entropy():
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    alone, coupled = (
        Pool(torch.zeros(20, 1), logits),
        Pool(torch.zeros(20, 1), logits, sequences=torch.zeros(20).long()),
    )
    generator = torch.Generator()
    expected = entropy(alone, 20, generator).tolist()
    assert structured(alone, 20, generator).tolist() == expected
    assert structured(coupled, 20, generator, coupling=0.0).tolist() == expected
    assert structured(coupled, 20, generator).tolist() != expected
