"""The objective that training minimizes: a head and a weighted sum of losses on its logits."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.errors import unknown_name
from afield.keywords import check_keywords, keywords_of
from afield.losses import LOSSES, log_prior
from afield.losses.targets import counted, example_weight, is_soft
from afield.target_split import TargetSplit, split_target
from afield.types import IGNORE_INDEX, Head, SplittingHead


class Objective(nn.Module):
    """A head and a weighted sum of losses on its logits.

    Args:
        head: a module with the `afield.types.Head` interface.
        losses: weights of losses by name in ``afield.losses.LOSSES``.
        loss_options: hyper-parameters by loss name, for example ``{"label_smoothing": {"smoothing": 0.2}}``, or class
            weights, for example ``{"cross_entropy": {"weight": [1.0, 2.0, 2.0]}}``.
        linear_losses: weights of losses on the products ``W x`` with the class vectors of the head. For example,
            ``{"cross_entropy": 1.0}`` with a margin head trains cross-entropy and the margin on shared weights.
        neck: module from features ``[B, D]`` to features ``[B, D]`` before the head; see `afield.heads.Neck`.

    `set_classes` adds what depends on the number of training examples of each class.

    Raises:
        InputError: if a loss is unknown, or `loss_options` has a loss that is not in `losses`.
        TypeError: if `losses` is not a mapping, `head` is not a head, or a loss does not have an option.
        ValueError: if there are no losses, or the head does not support `linear_losses`.

    Example:
        >>> import torch
        >>> from afield.heads import ArcFaceHead
        >>> objective = Objective(ArcFaceHead(8, 3), losses={"cross_entropy": 1.0, "complement_flattening": 0.5})
        >>> loss = objective(torch.randn(4, 8), torch.tensor([0, 1, 2, 0]))
        >>> loss.backward()
        >>> objective.logits(torch.randn(2, 8)).shape
        torch.Size([2, 3])
    """

    class_weight: Tensor | None
    prediction_shift: Tensor | None

    def __init__(
        self,
        head: nn.Module,
        losses: Mapping[str, float],
        loss_options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        linear_losses: Mapping[str, float] | None = None,
        neck: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(losses, Mapping):
            raise TypeError(f"losses must be weights by name, such as {{'cross_entropy': 1.0}}, got {losses!r}")
        if not losses:
            raise ValueError("an objective needs at least one loss")
        if not isinstance(head, Head):
            needed = "in_features, num_classes and forward(features, targets=None)"
            raise TypeError(f"an objective needs a head with {needed}, such as LinearHead, got {head}")
        for name in loss_options or {}:
            if name not in losses:
                unknown_name("loss in loss_options:", name, losses)
        if linear_losses and not hasattr(head, "products"):
            raise ValueError(f"linear_losses need a head with class vectors on the unit sphere, got {head}")
        self.neck = neck
        self.head: Any = head
        self._splits = isinstance(head, SplittingHead)
        self.weights = {**losses, **{f"linear/{name}": weight for name, weight in (linear_losses or {}).items()}}
        options = loss_options or {}
        self._losses = nn.ModuleDict({name: _Term(name, options.get(name, {})) for name in losses})
        self._linear_losses = nn.ModuleDict({name: _Term(name, {}) for name in linear_losses or {}})
        for name in losses:
            if (check := LOSSES.traits[name].check_classes) is not None:
                check(cast(Head, head).num_classes)
        split = {name: LOSSES.traits[name].split for name in losses}
        self._split_losses = {} if any(options.values()) else {name: f for name, f in split.items() if f is not None}
        self.register_buffer("class_weight", None, persistent=False)
        self.register_buffer("prediction_shift", None)
        self.progress, self.weighted_from = 1.0, 0.0

    def set_classes(
        self, counts: Tensor, *, weight: Tensor | None = None, weighted_from: float = 0.0, adjustment: float = 0.0
    ) -> None:
        """Set what depends on the classes of the training examples.

        Args:
            counts: number of training examples of each class, ``[K]``, for the losses that have an option `counts`.
            weight: class weights ``[K]``. Each loss of an example is multiplied by the weight of its target (by the
                expected weight for probabilities). None means 1 for all classes.
            weighted_from: value of `progress`, the fraction of the training that is done, from which the class weights
                apply (deferred re-weighting). Outside training, `progress` is 1.
            adjustment: ``tau`` of logit adjustment at prediction: ``tau log pi_k`` is subtracted from `logits`, where
                ``pi_k`` is the fraction of the examples in class k (Menon et al., ICLR 2021, equation 9).
        """
        for term in (*self._losses.values(), *self._linear_losses.values()):
            cast(_Term, term).set_counts(counts)
        self.class_weight, self.weighted_from = weight, weighted_from
        self.prediction_shift = adjustment * log_prior(counts.clamp(min=1)).float() if adjustment else None

    def terms(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each loss without its weight, averaged over the batch, by name; linear losses are ``linear/NAME``."""
        return {name: _mean(*row) for name, row in self._rows(features, targets)}

    def with_examples(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum of the losses, as in `forward`, and that of each example, ``[B]``, without gradient."""
        rows = dict(self._rows(features, targets))
        examples = [self.weights[name] * values.detach() for name, (values, _) in rows.items()]
        return self._sum({name: _mean(*row) for name, row in rows.items()}), torch.stack(examples).sum(dim=0)

    def risks(
        self, features: Tensor, targets: Tensor, groups: Tensor, count: int, *, scale: Tensor | None = None
    ) -> Tensor:
        """The weighted sum of the losses in each group of rows, ``[count]``.

        Args:
            features: features ``[B, D]``.
            targets: as in `forward`.
            groups: group index of each row, ``[B]``, from 0 to count - 1. No group may be empty.
            count: number of groups.
            scale: factor on the logits of each row, ``[B]``.
        """
        member = F.one_hot(groups, count).T
        rows = self._rows(features, targets, scale)
        means = {name: _group_means(values, counts, member) for name, (values, counts) in rows}
        return sum((self.weights[name] * mean for name, mean in means.items()), start=features.new_zeros(count))

    def _rows(
        self, features: Tensor, targets: Tensor, scale: Tensor | None = None
    ) -> Iterator[tuple[str, tuple[Tensor, Tensor | None]]]:
        """Each loss by name: its values ``[B]`` and the weight of each row (None if all weights are equal)."""
        if not len(features):
            raise ValueError("an objective needs at least one example")
        features = features if self.neck is None else self.neck(features)
        weight = self.class_weight if self.progress >= self.weighted_from else None
        split = self._target_split(features, targets) if scale is None else None
        if split is not None:
            counts = targets != IGNORE_INDEX
            for name, split_loss in self._split_losses.items():
                yield name, _weighted((split_loss(split), counts), targets, weight)
        else:
            logits = _scaled(self.head(features, targets), scale)
            for name, loss in self._losses.items():
                yield name, _weighted(loss(logits, targets), targets, weight)
        if self._linear_losses:
            logits = _scaled(self.head.products(features), scale)
            for name, loss in self._linear_losses.items():
                yield f"linear/{name}", _weighted(loss(logits, targets), targets, weight)

    def _target_split(self, features: Tensor, targets: Tensor) -> TargetSplit | None:
        """The logits as `TargetSplit`, if all losses support it and it saves work; otherwise None."""
        if len(self._split_losses) < len(self._losses) or is_soft(targets):
            return None
        if self._splits:
            return self.head.target_split(features, targets)
        if len(self._losses) > 1:
            return split_target(self.head(features, targets), counted(targets, IGNORE_INDEX))
        return None

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features ``[B, D]``, targets -> the weighted sum of the losses, a scalar.

        Targets are class indices ``[B]``, with -100 in ignored rows, or probabilities ``[B, K]`` (mixup, CutMix) if the
        head and the losses support them.
        """
        return self._sum(self.terms(features, targets))

    def _sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        total: Tensor = sum(self.weights[name] * term for name, term in terms.items())  # type: ignore[assignment]
        return total

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> logits for prediction, ``[B, K]``, without a margin."""
        logits = self.head(features if self.neck is None else self.neck(features))
        return logits if self.prediction_shift is None else logits - self.prediction_shift

    def extra_repr(self) -> str:
        """The weighted sum, for ``print(module)``."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())


class _Term(nn.Module):
    """A loss by name. Returns its values ``[B]`` and the weight of each row, as in `afield.losses.Criterion`."""

    weight: Tensor | None
    counts: Tensor | None

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.loss = LOSSES[name]
        check_keywords(f"loss {name}", options, keywords_of(self.loss))
        self.options = {option: value for option, value in options.items() if option not in ("weight", "counts")}
        for option in ("weight", "counts"):
            value = options.get(option)
            self.register_buffer(option, None if value is None else torch.as_tensor(value).float(), persistent=False)

    def set_counts(self, counts: Tensor) -> None:
        """Set the option `counts` if the loss has it and it is not set yet."""
        if "counts" in keywords_of(self.loss) and self.counts is None:
            self.counts = counts

    def forward(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        values = self.loss(logits, targets, **self.options, **dict(self.named_buffers()))
        if is_soft(targets):
            return values, None
        return values, example_weight(targets, self.weight, self.options.get("ignore_index", IGNORE_INDEX))


def _weighted(
    rows: tuple[Tensor, Tensor | None], targets: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Values ``[B]`` and weights of the rows, both multiplied by the class weight ``[K]`` of the target."""
    if weight is None:
        return rows
    values, counts = rows
    factor = example_weight(targets, weight, IGNORE_INDEX)
    return values * factor, None if counts is None else counts * factor


def _scaled(logits: Tensor, scale: Tensor | None) -> Tensor:
    return logits if scale is None else logits * scale[:, None]


def _mean(values: Tensor, counts: Tensor | None) -> Tensor:
    """The sum of values ``[B]``, without ignored rows, divided by the sum of the weights of the rows."""
    if counts is None:
        return values.mean()
    return values.where(counts != 0, 0).sum() / counts.sum()


def _group_means(values: Tensor, counts: Tensor | None, member: Tensor) -> Tensor:
    """`_mean` of each group, ``[G]``; ``member[g, b]`` is 1 if row b belongs to group g."""
    counts = torch.ones_like(values) if counts is None else counts.to(values.dtype)
    member = member.to(values.dtype)
    return (member @ values.where(counts != 0, 0)) / (member @ counts)
