"""The base class of the training algorithms, and the batch that each step receives."""

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, TypeVar

from torch import Tensor, nn

from afield.classifier import Classifier
from afield.objective import Objective

Sampling = Literal["shuffled", "balanced"]


class Batch(NamedTuple):
    """The examples of one training step.

    Attributes:
        inputs: images ``[B, 3, H, W]`` in [0, 1], precomputed features ``[B, D]``, or activations ``[B, C, H, W]``.
        targets: class indices ``[B]``, or probabilities ``[B, K]`` if images are mixed.
        domains: index of each example's training domain, ``[B]``, from 0 to E - 1.
        indices: index of each example in the training set, ``[B]``, from 0 to N - 1.
        progress: fraction of the training steps that are done, in [0, 1).
        target: unlabeled inputs of the new place, as many as `inputs`, for algorithms that use them; otherwise None.
    """

    inputs: Tensor
    targets: Tensor
    domains: Tensor
    indices: Tensor
    progress: float
    target: Tensor | None = None


Terms = dict[str, Tensor]
"""Scalar losses by name. Training minimizes their sum."""


Value = TypeVar("Value", float, Tensor)


def total(terms: Mapping[str, Value]) -> Value:
    """The sum of the terms. At least one term is required."""
    return functools.reduce(operator.add, terms.values())


class Algorithm(nn.Module):
    """Base class of the training algorithms: defines the loss of a step.

    The training loop owns the optimizer, the learning-rate schedule, the checkpoints and the model selection. The base
    class minimizes the objective. Most algorithms override `terms`. An algorithm that needs several passes overrides
    `update` and leaves its gradients in ``parameter.grad``. The optimizer updates all parameters that require a
    gradient. Checkpoints contain all parameters and buffers, and the state of PyTorch's global CPU generator, which
    produces all random numbers.

    Hyper-parameters are keyword-only and have defaults. A recipe sets them with ``algorithm_options``.

    Attributes:
        domains_at_least: minimum number of training domains.
        needs: ``"features"`` if the algorithm can train on precomputed features of a frozen backbone, ``"layers"`` if
            it needs a backbone, or the last layers of one, that trains, or ``"images"``.
        sampling: default way to draw batches.
        soft_targets: whether the algorithm accepts probabilities as targets.
        data_parallel: whether each process can compute the terms on its own part of a batch.
        uses_target: whether the algorithm needs unlabeled inputs of the new place in each batch.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each of the E domains; their sum is N.
    """

    domains_at_least: ClassVar[int] = 1
    needs: ClassVar[Literal["images", "layers", "features"]] = "features"
    sampling: ClassVar[Sampling] = "shuffled"
    soft_targets: ClassVar[bool] = True
    data_parallel: ClassVar[bool] = True
    uses_target: ClassVar[bool] = False

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int]) -> None:
        super().__init__()
        self.classifier = classifier

    def terms(self, batch: Batch) -> Terms:
        """Compute the loss terms of a batch. Training minimizes their sum."""
        return {"objective": self.classifier(batch.inputs, batch.targets)}

    def forward(self, batch: Batch) -> Terms:
        """Call `terms`."""
        return self.terms(batch)

    def update(self, forward: Callable[[Batch], Terms], batch: Batch, backward: Callable[[Tensor], object]) -> Terms:
        """Compute the gradients of one step and store them in ``parameter.grad``.

        Args:
            forward: this module, wrapped for the precision and the processes of the run.
            batch: examples of this step.
            backward: adds the gradients of a scalar to ``parameter.grad``.

        Returns:
            The terms to log. Their sum is the training loss.
        """
        terms = forward(batch)
        backward(total(terms))
        return {name: term.detach() for name, term in terms.items()}

    def set_progress(self, fraction: float) -> None:
        """Tell all objectives which fraction of the epochs is done. The loop calls it before each epoch."""
        for module in self.modules():
            if isinstance(module, Objective):
                module.progress = fraction

    def start_epoch(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """Hook that the loop calls before the first step of each epoch.

        Args:
            batches: returns an iterator over all training examples, in order and without augmentation.
        """

    def end_step(self, done: int, steps: int, validate: Callable[[], float]) -> None:
        """Hook that the loop calls after each optimizer step.

        Args:
            done: number of steps done so far.
            steps: number of steps in the whole training.
            validate: returns the mean loss of the classifier on the validation examples.
        """

    def predictor(self) -> Classifier:
        """The model to evaluate and to save. Its state dict fits the classifier."""
        return self.classifier
