"""What every algorithm has to keep, whichever it is; and what the training loop offers one."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from afield.algorithms import ALGORITHMS, AVERAGINGS, ERM, Algorithm, total
from afield.errors import InputError
from afield.heads import ArcFaceHead, LinearHead
from afield.recipes import RECIPES, Recipe
from afield.runs.build import build_algorithm
from afield.testing import ALGORITHM_CHECKS
from afield.testing.algorithms import (
    SIZES,
    images_of,
    make_batch,
    make_classifier,
    resumes_bit_for_bit,
    takes_options_by_keyword,
    train,
    unlabeled,
)
from afield.training import Subset, TrainConfig
from afield.training.batches import balanced, in_rounds

TRAINED = [recipe for recipe in (*ALGORITHMS.names, *AVERAGINGS.names) if recipe in RECIPES]
every_algorithm = pytest.mark.parametrize("name", TRAINED)


def make(name: str, seed: int = 0, head: type[nn.Module] = LinearHead) -> Algorithm:
    return build_algorithm(RECIPES[name], make_classifier(head, seed), SIZES, seed)


@every_algorithm
def test_an_algorithm_is_a_recipe_of_its_name_and_its_options_are_keywords_with_defaults(name):
    kind = ALGORITHMS[name] if name in ALGORITHMS else AVERAGINGS[name]
    recipe = RECIPES[name]
    assert name in (recipe.algorithm, recipe.averaging)
    defaults = takes_options_by_keyword(kind, 2 if name in ALGORITHMS else 1)
    field = "algorithm_options" if name in ALGORITHMS else "averaging_options"
    again = Recipe(**{**RECIPES[name].config(), field: defaults})
    expected, found = make(name), build_algorithm(again, make_classifier(), SIZES, 0)
    assert expected.state_dict().keys() == found.state_dict().keys()


@every_algorithm
def test_an_algorithm_documents_its_options_and_names_the_paper(name):
    kind = ALGORITHMS[name] if name in ALGORITHMS else AVERAGINGS[name]
    text = kind.__doc__
    assert "References:" in text
    for option in inspect.signature(kind).parameters:
        assert f"        {option}: " in text, option


@every_algorithm
@pytest.mark.parametrize("check", ALGORITHM_CHECKS, ids=lambda check: check.__name__)
def test_an_algorithm_passes_the_common_check(check, name):
    check(partial(make, name))


@every_algorithm
def test_an_algorithm_resumes_from_other_steps_too(name):
    resumes_bit_for_bit(partial(make, name), (2, 6))


@every_algorithm
def test_a_margin_head_and_mixed_images_go_with_it_where_it_says_so(name, tmp_path):
    train(make(name, head=ArcFaceHead), tmp_path / "arcface", augmentation="none")
    if ALGORITHMS[RECIPES[name].algorithm].soft_targets:
        progress = train(make(name), tmp_path / "mixed", augmentation="mixup")
        assert np.isfinite(progress.epochs[-1].train_loss)


def test_erm_is_the_objective_and_nothing_else():
    batch, classifier = make_batch(), make_classifier().eval()
    terms = ERM(classifier, SIZES)(batch)
    assert list(terms) == ["objective"]
    assert torch.equal(terms["objective"], classifier(batch.inputs, batch.targets))


class Watching(Algorithm):
    """Two terms, of which the loop is to write both; a count of its calls that is part of its state."""

    def __init__(self, classifier, domain_sizes):
        super().__init__(classifier, domain_sizes)
        self.calls = []

    def terms(self, batch):
        objective = super().terms(batch)["objective"]
        self.calls.append(("terms", batch))
        return {"objective": objective, "extra": 0.5 * objective.detach() ** 0}

    def start_epoch(self, batches):
        self.calls.append(("start", list(batches())))

    def end_step(self, done, steps, validate):
        self.calls.append(("end", done, steps, validate()))
        assert self.training


def test_the_loop_calls_an_algorithm_where_it_says_and_writes_its_terms(tmp_path):
    algorithm = Watching(make_classifier(), SIZES)
    progress = train(algorithm, tmp_path)
    assert [call[0] for call in algorithm.calls] == 2 * ["start", *3 * ["terms", "end"]]
    starts = [call[1] for call in algorithm.calls if call[0] == "start"]
    source = images_of(SIZES)
    for batches in starts:
        indices = torch.cat([batch.indices for batch in batches])
        assert torch.equal(indices, torch.arange(60))
        assert torch.equal(torch.cat([batch.inputs for batch in batches]), source.take(np.arange(60))[0])
        assert torch.equal(torch.cat([batch.domains for batch in batches]), torch.from_numpy(source.domain_of))
    batches = [call[1] for call in algorithm.calls if call[0] == "terms"]
    assert [batch.progress for batch in batches] == pytest.approx([i / 6 for i in range(6)])
    assert all(np.array_equal(batch.targets, source.labels[batch.indices]) for batch in batches)
    assert [call[1:3] for call in algorithm.calls if call[0] == "end"] == [(i, 6) for i in range(1, 7)]
    last = [call[3] for call in algorithm.calls if call[0] == "end"][-1]
    assert last == progress.epochs[-1].validation["loss"]
    for epoch in progress.epochs:
        assert epoch.train_terms["extra"] == 0.5
        assert epoch.train_loss == total(epoch.train_terms)


def test_domains_are_numbered_from_zero_whatever_the_set_calls_them():
    features, labels = np.zeros((6, 2), np.float32), np.zeros(6, np.int64)
    source = Subset(features, labels, np.array([5, 1, 2, 4]), np.array([3, 1, 1, 9, 3, 3]))
    assert source.domain_of.tolist() == [1, 0, 0, 1]
    assert source.domain_sizes == [2, 2]
    assert Subset(features, labels, np.array([5, 1])).domain_sizes == [2]


def test_balanced_batches_have_equally_many_of_each_domain_and_small_domains_go_round():
    source, domain_of = images_of([3, 50, 8]), np.repeat([0, 1, 2], [3, 50, 8])
    batches = balanced(source, 10, np.random.default_rng(0))
    assert len(batches) == 6
    for batch in batches:
        assert np.bincount(domain_of[batch]).tolist() == [3, 3, 3]
        assert domain_of[batch[:3]].tolist() == [0, 1, 2]
    counts = np.bincount(np.concatenate(batches), minlength=61)
    assert counts[:3].tolist() == [6, 6, 6]
    assert set(counts[3:53].tolist()) == {0, 1}
    assert sorted(counts[53:].tolist()) == [2] * 6 + [3] * 2
    with pytest.raises(InputError, match="--batch-size 3 or more"):
        balanced(source, 2, np.random.default_rng(0))


def test_target_batches_have_the_size_of_the_others_and_pass_all_examples_equally_often():
    batches = in_rounds(unlabeled(), 18, 5, np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [18] * 5
    assert np.bincount(np.concatenate(batches)).tolist() == [9] * 10
    assert sorted(np.concatenate(batches)[:10].tolist()) == list(range(10))


def test_the_loop_gives_a_target_batch_to_what_uses_one_and_to_nothing_else(tmp_path):
    def seen(algorithm: Algorithm) -> list[torch.Tensor | None]:
        batches = []
        algorithm.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0].target))
        train(algorithm, tmp_path / type(algorithm).__name__, augmentation="none")
        return batches

    assert seen(make("erm")) == [None] * 6
    images, _ = unlabeled().take(np.arange(10))
    for epoch in (seen(make("mcc"))[:3], seen(make("mcd"))[3:]):
        given = torch.cat(epoch)
        counts = [(given == image).flatten(1).all(dim=1).sum() for image in images]
        assert sum(counts) == 54
        assert set(map(int, counts)) <= {5, 6}


def test_accumulated_micro_batches_divide_the_target_as_they_divide_the_batch(tmp_path):
    sizes = []
    algorithm = make("mcc")
    algorithm.register_forward_pre_hook(lambda _, inputs: sizes.append((len(inputs[0].inputs), len(inputs[0].target))))
    train(algorithm, tmp_path, TrainConfig(epochs=1, batch_size=18, accumulate=3))
    assert sizes == [(6, 6)] * 9


def test_the_setting_of_sampling_goes_before_what_the_algorithm_says(tmp_path):
    def seen(kind: str, sampling: str) -> list[list[int]]:
        algorithm = make(kind)
        batches = []
        algorithm.register_forward_pre_hook(
            lambda _, inputs: batches.append(torch.bincount(inputs[0].domains).tolist())
        )
        train(algorithm, tmp_path / f"{kind}-{sampling}", TrainConfig(epochs=1, batch_size=18, sampling=sampling))
        return batches

    assert seen("coral", "auto") == seen("erm", "balanced") == [[6, 6, 6]] * 3
    assert seen("erm", "auto") == seen("coral", "shuffled") != [[6, 6, 6]] * 3


def test_balanced_batches_show_every_image_of_a_large_domain_in_time_and_in_another_order_each_epoch():
    source = Subset(np.zeros((110, 1)), np.zeros(110), np.arange(110), np.repeat([0, 1, 2], [50, 50, 10]))
    epochs = [np.concatenate(balanced(source, 30, np.random.default_rng(epoch))) for epoch in range(20)]
    assert len(epochs[0]) == 90  # 30 of the 50 images of a large domain
    assert set(np.concatenate(epochs).tolist()) == set(range(110))
    assert not np.array_equal(epochs[0], epochs[1])
