"""Checks of algorithms, on noise with a bright row for the class in three domains of different brightness."""

import copy
import inspect
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from afield.algorithms import Algorithm, Batch
from afield.augment import build_chain
from afield.classifier import Classifier
from afield.fabric import Fabric
from afield.heads import LinearHead
from afield.models import ResNet8
from afield.objective import Objective
from afield.training import Splits, Subset, TrainConfig, TrainState, checkpoint, fit, loop
from afield.training.batches import balanced
from afield.types import IGNORE_INDEX

SIZES = [12, 30, 18]
SETTINGS = TrainConfig(epochs=2, batch_size=18, learning_rate=0.05, dropout=0.2)

MakeAlgorithm = Callable[[int], Algorithm]
"""Creates the algorithm, with a classifier of `make_classifier`, from a seed."""


def check_algorithm(kind: type[Algorithm]) -> None:
    """All checks of an algorithm, a subclass of `Algorithm`."""

    def make(seed: int) -> Algorithm:
        classifier = make_classifier(seed=seed)
        return kind(classifier, SIZES)

    takes_options_by_keyword(kind)
    for check in ALGORITHM_CHECKS:
        check(make)


def takes_options_by_keyword(kind: type[nn.Module], arguments: int = 2) -> Mapping[str, Any]:
    """Options are keyword-only, with defaults that JSON can hold, which are returned. Other arguments are counted."""
    parameters = list(inspect.signature(kind).parameters.values())
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert len(parameters) - len(options) == arguments, f"{kind.__name__} needs {arguments} arguments besides options"
    assert inspect.Parameter.empty not in options.values(), "an option has no default"
    assert json.loads(json.dumps(options)) == options
    return options


def has_finite_gradients_that_reach_the_classifier(make: MakeAlgorithm) -> None:
    """An update leaves finite gradients, and they are not 0 in the first layer and in the head."""
    algorithm = make(0)
    found = gradients(algorithm, make_batch())
    assert all(gradient.isfinite().all() for gradient in found.values())
    backbone: Any = algorithm.classifier.backbone
    for weight in (backbone.stem[0].weight, algorithm.classifier.objective.head.weight):
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0, "no gradient in the classifier"


def is_decided_by_the_seed(make: MakeAlgorithm) -> None:
    """Two updates of one seed have equal gradients, and do not change the batch."""
    batch = make_batch()
    before = copy.deepcopy(batch)
    first, second = (gradients(make(0), batch) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(a, b) for a, b in zip(batch[:4], before[:4], strict=True))
    assert batch.target is not None
    assert before.target is not None
    assert torch.equal(batch.target, before.target)


def returns_from_its_state(make: MakeAlgorithm) -> None:
    """After a step, an algorithm with the state dict of another one has the same next update."""
    algorithm, other, batch = make(0), make(7), make_batch()
    gradients(algorithm, batch)
    algorithm.end_step(1, 2, lambda: 1.0)
    other.load_state_dict(copy.deepcopy(algorithm.state_dict()))
    first, second = gradients(algorithm, batch, seed=3), gradients(other, batch, seed=3)
    assert all(torch.equal(first[key], second[key]) for key in first)


def predicts_with_a_plain_classifier(make: MakeAlgorithm) -> None:
    """What a training saves is loaded into a classifier, which gives the same logits."""
    with tempfile.TemporaryDirectory() as folder:
        progress = train(make(0), Path(folder))
    plain = make_classifier(seed=5)
    missing, more = plain.load_state_dict(progress.best, strict=False)
    assert not missing
    assert all(key.startswith("loss_prediction.") for key in more), more
    inputs, _ = images_of([6, 6, 6], seed=1).take(np.arange(18))
    with torch.no_grad():
        logits = plain.eval().logits(inputs)
    torch.testing.assert_close(logits, progress.best_logits["validation"], atol=1e-5, rtol=1e-4)


def resumes_bit_for_bit(make: MakeAlgorithm, stops: Sequence[int] = (4,)) -> None:
    """A training that ends after a checkpoint, and continues, gives the result of an uninterrupted one."""
    with tempfile.TemporaryDirectory() as parent:
        whole = make(0)
        expected = train(whole, Path(parent) / "whole")
        for stop in stops:
            folder = Path(parent) / f"stopped{stop}"
            _train_until_checkpoint(make(0), folder, stop)
            resumed = make(3)
            progress = train(resumed, folder)
            assert progress.epochs == expected.epochs
            found = resumed.state_dict()
            for key, tensor in whole.state_dict().items():
                assert torch.equal(tensor.nan_to_num(), found[key].nan_to_num()), f"{key}, checkpoint {stop}"
            assert all(torch.equal(tensor, progress.best[key]) for key, tensor in expected.best.items())


ALGORITHM_CHECKS = (
    has_finite_gradients_that_reach_the_classifier,
    is_decided_by_the_seed,
    returns_from_its_state,
    predicts_with_a_plain_classifier,
    resumes_bit_for_bit,
)
"""The checks of `check_algorithm`, besides that of the options."""


def make_classifier(head: Callable[..., nn.Module] = LinearHead, seed: int = 0) -> Classifier:
    """A classifier of images of three classes."""
    torch.manual_seed(seed)
    objective = Objective(head(32, 3), {"cross_entropy": 1.0})
    # oneDNN's gradient of a strided 1 x 1 convolution of fewer than 8 channels writes out of bounds on AVX2-only CPUs
    return Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=SETTINGS.dropout)


def images_of(sizes: Sequence[int], seed: int = 0) -> Subset:
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


def make_batch(count: int = 18, source: Subset | None = None) -> Batch:
    """A batch with the same number of images from each domain."""
    source = source or images_of(SIZES)
    indices = balanced(source, count, np.random.default_rng(0))[0]
    inputs, targets = source.take(indices)
    target, _ = unlabeled().take(indices % 10)
    return Batch(inputs, targets, torch.from_numpy(source.domain_of[indices]), torch.from_numpy(indices), 0.5, target)


def gradients(algorithm: Algorithm, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
    """The gradients after one update, by name of the parameter."""
    torch.manual_seed(seed)
    algorithm.zero_grad()
    algorithm.train().update(algorithm, batch, Tensor.backward)
    return {name: p.grad.clone() for name, p in algorithm.named_parameters() if p.grad is not None}


def train(
    algorithm: Algorithm, folder: Path, training: TrainConfig = SETTINGS, augmentation: str = "crop"
) -> TrainState:
    """Train for two epochs, or resume the training in the folder."""
    return fit(
        algorithm,
        Splits(images_of(SIZES), images_of([6, 6, 6], seed=1), {}, {"new": unlabeled()}),
        training,
        build_chain(augmentation),
        seed=1,
        label="test",
        checkpoint_file=folder / "checkpoint.safetensors",
        fabric=Fabric(accelerator="cpu", devices=1),
    )


def _train_until_checkpoint(algorithm: Algorithm, folder: Path, stop: int) -> None:
    """Train with a checkpoint after each step, and end after that of this number."""
    written, save = 0, checkpoint.save

    def counted(*arguments: Any) -> None:
        nonlocal written
        save(*arguments)
        written += 1
        if written == stop:
            raise KeyboardInterrupt

    with mock.patch.object(loop, "CHECKPOINT_SECONDS", -1.0), mock.patch.object(checkpoint, "save", counted):
        try:
            train(algorithm, folder)
        except KeyboardInterrupt:
            return
    raise AssertionError(f"the training ended before checkpoint {stop}")
