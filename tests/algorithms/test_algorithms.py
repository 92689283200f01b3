"""What every algorithm has to keep, whichever it is; and what the training loop offers one."""

from __future__ import annotations

import copy
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from afield.algorithms import ALGORITHMS, AVERAGINGS, ERM, Algorithm, Batch, total
from afield.augment import build_chain
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import ArcFaceHead, LinearHead
from afield.models import ResNet8
from afield.objective import Objective
from afield.recipes import RECIPES, Recipe
from afield.runs.build import build_algorithm
from afield.training import Splits, Subset, TrainConfig, checkpoint, fit, loop
from afield.training.batches import balanced, in_rounds
from afield.types import IGNORE_INDEX

TRAINED = [recipe for recipe in (*ALGORITHMS.names, *AVERAGINGS.names) if recipe in RECIPES]
every_algorithm = pytest.mark.parametrize("name", TRAINED)
SIZES = [12, 30, 18]
SETTINGS = TrainConfig(epochs=2, batch_size=18, learning_rate=0.05, dropout=0.2)


def images_of(sizes: list[int], seed: int = 0) -> Subset:
    """Noise with a bright row for the class, in domains of another brightness each; the last has no class 2."""
    rng = np.random.default_rng(seed)
    domains = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.arange(len(domains)) % np.where(domains == len(sizes) - 1, 2, 3)
    images = rng.integers(0, 60, (len(domains), 8, 8, 3)) + 30 * domains[:, None, None, None]
    images[np.arange(len(domains)), 2 * labels + 1] += 90
    return Subset(images.astype(np.uint8), labels, np.arange(len(domains)), domains)


def unlabeled() -> Subset:
    """Ten images of a brightness that no other domain has, and no labels; fewer than a batch."""
    images = images_of([3, 3, 3, 10], seed=2)
    return Subset(images.inputs, np.full(19, IGNORE_INDEX), np.arange(9, 19))


def make_classifier(head: type[nn.Module] = LinearHead, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    objective = Objective(head(32, 3), {"cross_entropy": 1.0})
    # oneDNN's gradient of a strided 1 x 1 convolution of fewer than 8 channels writes out of bounds on AVX2-only CPUs
    return Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=SETTINGS.dropout)


def make(name: str, seed: int = 0, head: type[nn.Module] = LinearHead) -> Algorithm:
    return build_algorithm(RECIPES[name], make_classifier(head, seed), SIZES, seed)


def make_batch(count: int = 18, source: Subset | None = None) -> Batch:
    source = source or images_of(SIZES)
    indices = balanced(source, count, np.random.default_rng(0))[0]
    inputs, targets = source.take(indices)
    target, _ = unlabeled().take(indices % 10)
    return Batch(inputs, targets, torch.from_numpy(source.domain_of[indices]), torch.from_numpy(indices), 0.5, target)


def gradients(algorithm: Algorithm, batch: Batch, seed: int = 0) -> dict[str, torch.Tensor]:
    """After one update, by name of the parameter."""
    torch.manual_seed(seed)
    algorithm.zero_grad()
    algorithm.train().update(algorithm, batch, torch.Tensor.backward)
    return {name: p.grad.clone() for name, p in algorithm.named_parameters() if p.grad is not None}


def train(algorithm: Algorithm, folder: Path, training: TrainConfig = SETTINGS, augmentation: str = "crop"):
    source = images_of(SIZES)
    return fit(
        algorithm,
        Splits(source, images_of([6, 6, 6], seed=1), {}, {"new": unlabeled()}),
        training,
        build_chain(augmentation),
        seed=1,
        label="test",
        checkpoint_file=folder / "checkpoint.safetensors",
        fabric=Fabric(accelerator="cpu", devices=1),
    )


@every_algorithm
def test_an_algorithm_is_a_recipe_of_its_name_and_its_options_are_keywords_with_defaults(name):
    kind = ALGORITHMS[name] if name in ALGORITHMS else AVERAGINGS[name]
    recipe = RECIPES[name]
    assert name in (recipe.algorithm, recipe.averaging)
    parameters = list(inspect.signature(kind).parameters.values())
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert len(parameters) - len(options) == (2 if name in ALGORITHMS else 1)
    assert all(p.default is not p.empty for p in options)
    defaults = {p.name: p.default for p in options}
    assert json.loads(json.dumps(defaults)) == defaults
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
def test_an_update_has_finite_gradients_that_reach_backbone_and_head(name):
    algorithm, batch = make(name), make_batch()
    found = gradients(algorithm, batch)
    assert all(gradient.isfinite().all() for gradient in found.values())
    classifier = algorithm.classifier
    assert classifier.backbone.stem[0].weight.grad.abs().sum() > 0
    assert classifier.objective.head.weight.grad.abs().sum() > 0


@every_algorithm
def test_an_update_is_decided_by_the_seed_and_does_not_change_the_batch(name):
    batch = make_batch()
    before = copy.deepcopy(batch)
    first, second = (gradients(make(name), batch) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(a, b) for a, b in zip(batch[:4], before[:4], strict=True))
    assert torch.equal(batch.target, before.target)


@every_algorithm
def test_an_algorithm_comes_back_from_its_state(name):
    algorithm, other = make(name), make(name, seed=7)
    batch = make_batch()
    gradients(algorithm, batch)
    algorithm.end_step(1, 2, lambda: 1.0)
    other.load_state_dict(copy.deepcopy(algorithm.state_dict()))
    first, second = gradients(algorithm, batch, seed=3), gradients(other, batch, seed=3)
    assert all(torch.equal(first[key], second[key]) for key in first)


@every_algorithm
def test_what_predicts_is_loaded_into_a_plain_classifier(name, tmp_path):
    algorithm = make(name)
    progress = train(algorithm, tmp_path)
    plain = make_classifier(seed=5)
    missing, more = plain.load_state_dict(progress.best, strict=False)
    assert not missing
    assert all(key.startswith("loss_prediction.") for key in more)
    inputs, _ = images_of([6, 6, 6], seed=1).take(np.arange(18))
    with torch.no_grad():
        logits = plain.eval().logits(inputs)
    torch.testing.assert_close(logits, progress.best_logits["validation"], atol=1e-5, rtol=1e-4)


@every_algorithm
@pytest.mark.parametrize("stop", [2, 4, 6])
def test_resumed_from_any_step_it_ends_bit_for_bit_the_same(name, stop, tmp_path, monkeypatch):
    whole = make(name)
    expected = train(whole, tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    saved = []

    def die(path, tensors, state):
        save(path, tensors, state)
        saved.append(state)
        if len(saved) == stop:
            raise KeyboardInterrupt

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", die)
    with pytest.raises(KeyboardInterrupt):
        train(make(name), tmp_path / "killed")
    monkeypatch.setattr(checkpoint, "save", save)
    resumed = make(name, seed=3)
    progress = train(resumed, tmp_path / "killed")
    assert progress.epochs == expected.epochs
    found = resumed.state_dict()
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), found[key].nan_to_num()), key
    assert all(torch.equal(tensor, progress.best[key]) for key, tensor in expected.best.items())


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
