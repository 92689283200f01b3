"""What an algorithm is: a classifier, what is minimized at a step, and where the training loop calls it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, TypeVar

from torch import Tensor, nn

from afield.classifier import Classifier

Sampling = Literal["shuffled", "balanced"]


class Batch(NamedTuple):
    """What a step sees.

    Attributes:
        inputs: images ``[B, 3, H, W]`` in [0, 1], or ready features ``[B, D]``.
        targets: class indices ``[B]``, or probabilities ``[B, K]`` where images are mixed.
        domains: index of each example's training domain, ``[B]``, from 0 to E - 1.
        indices: of the examples among the training examples, ``[B]``, from 0 to N - 1.
        progress: fraction of all steps that are done, in [0, 1).
        target: unlabeled inputs of the new place, as many as `inputs`, for an algorithm that uses them; else None.
    """

    inputs: Tensor
    targets: Tensor
    domains: Tensor
    indices: Tensor
    progress: float
    target: Tensor | None = None


Terms = dict[str, Tensor]
"""Scalars by name, whose sum is minimized."""


Value = TypeVar("Value", float, Tensor)


def total(terms: Mapping[str, Value]) -> Value:
    """The sum of the terms; there must be at least one."""
    return functools.reduce(operator.add, terms.values())


class Algorithm(nn.Module):
    """How a classifier is trained: the loop keeps optimizer, schedule, checkpoints and selection.

    The base class minimizes the objective; most algorithms override `terms`. One that needs
    several passes overrides `update`, and leaves its gradients in ``parameter.grad``. Parameters that need a gradient
    join the optimizer; parameters and buffers are in the checkpoint. All random numbers come from PyTorch's
    global generator of the CPU, which is there too.

    Hyper-parameters are keyword-only, with defaults: a recipe sets them by ``algorithm_options``.

    Attributes:
        domains_at_least: the smallest number of training domains it needs.
        needs: ``"features"`` if ready features of a frozen backbone are enough to train on, ``"images"`` if not.
        sampling: how batches are drawn unless the user says otherwise.
        soft_targets: whether it can be given probabilities as targets.
        data_parallel: whether processes can each compute it on their part of a batch.
        uses_target: whether it needs unlabeled inputs of the new place in each batch.

    Args:
        classifier: trained in place.
        domain_sizes: training examples of each of the E domains; their sum is N.
    """

    domains_at_least: ClassVar[int] = 1
    needs: ClassVar[Literal["images", "features"]] = "features"
    sampling: ClassVar[Sampling] = "shuffled"
    soft_targets: ClassVar[bool] = True
    data_parallel: ClassVar[bool] = True
    uses_target: ClassVar[bool] = False

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int]) -> None:
        super().__init__()
        self.classifier = classifier

    def terms(self, batch: Batch) -> Terms:
        """What is minimized: the sum of these scalars."""
        return {"objective": self.classifier(batch.inputs, batch.targets)}

    def forward(self, batch: Batch) -> Terms:
        """`terms`, as PyTorch calls a module."""
        return self.terms(batch)

    def update(self, forward: Callable[[Batch], Terms], batch: Batch, backward: Callable[[Tensor], object]) -> Terms:
        """Leave the gradients of one step in the parameters, where the optimizer finds them.

        Args:
            forward: this module, with the precision and the processes of the run around it.
            batch: of this step.
            backward: called with a scalar, adds its gradients.

        Returns:
            What is written of the step; the sum is the training loss.
        """
        terms = forward(batch)
        backward(total(terms))
        return {name: term.detach() for name, term in terms.items()}

    def start_epoch(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """Called before the first step of each epoch.

        Args:
            batches: a pass over all training examples in order, as they are: without augmentation.
        """

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """Called after the optimizer's step.

        Args:
            done: steps so far.
            steps: of the whole training.
            validate: the classifier's mean loss on the validation examples.
        """

    def predictor(self) -> Classifier:
        """What is evaluated after an epoch, and kept; its state fits the classifier."""
        return self.classifier
