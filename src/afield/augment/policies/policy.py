"""Policies, which are lists of sub-policies and apply a random one to each image."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Generator, Tensor

from afield.augment.policies.magnitudes import WIDE_KINDS, draws_of, narrow
from afield.augment.policies.operations import Draws, OnOperations, kind
from afield.errors import InputError, unknown_name
from afield.records import canonical_json, read_json, write_json
from afield.validation import check_number

VERSION = 1
"""Version of the file format of `Policy.write`."""

OPERATIONS = (*WIDE_KINDS, "invert")

PLAIN = ("identity", "autocontrast", "equalize", "invert")
"""Operations without magnitude."""


class Step(NamedTuple):
    """An operation with its probability and magnitude bin, written as ``rotate 0.7 12``."""

    operation: str
    probability: float
    magnitude: int = 0

    def __str__(self) -> str:
        return f"{self.operation} {self.probability}" + ("" if self.operation in PLAIN else f" {self.magnitude}")


@dataclass(frozen=True)
class Policy(OnOperations):
    """Applies one of several sub-policies to each image, with equal probability. Its operations are applied in order.

    Attributes:
        sub_policies: sequences of operations, each with probability and magnitude.
        bins: number of magnitudes, from 0 (no effect) to ``bins - 1`` (AutoAugment's largest).
        origin: how the policy was found, JSON-serializable. Equality and digest do not depend on it.

    Raises:
        InputError: if an operation is unknown (the message suggests similar names), a probability or a magnitude is out
            of range, or the policy or a sub-policy is empty.

    Example:
        >>> import torch
        >>> from afield.augment import Policy, describe
        >>> policy = Policy.parse(["posterize 1.0 30, invert 1.0, equalize 0.0"])
        >>> draws = policy.sample(torch.zeros(1, 3, 32, 32), torch.Generator().manual_seed(0))
        >>> describe(draws, 0)
        'posterize 4, invert'

    References:
        Cubuk et al., "AutoAugment", CVPR 2019, section 3, with the ranges of the paper, as in torchvision.
    """

    sub_policies: tuple[tuple[Step, ...], ...]
    bins: int = 31
    origin: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_number("bins", self.bins, 2, 1000, whole=True)
        if not self.sub_policies or not all(self.sub_policies):
            raise InputError("a policy needs at least one sub-policy, and each sub-policy at least one operation")
        for step in (step for sub_policy in self.sub_policies for step in sub_policy):
            if step.operation not in OPERATIONS:
                unknown_name("operation", step.operation, OPERATIONS)
            if not 0 <= step.probability <= 1:
                raise InputError(f"{str(step)!r}: the probability must lie between 0 and 1, got {step.probability}")
            if not 0 <= step.magnitude < self.bins:
                raise InputError(f"{str(step)!r}: the magnitude must lie between 0 and {self.bins - 1}")

    @classmethod
    def parse(cls, lines: Iterable[str], **fields: Any) -> Self:
        """Create a policy from lines such as ``"rotate 0.7 12, equalize 0.5"``, one for each sub-policy.

        `fields` are other attributes of the class.

        Raises:
            InputError: if a line has another form, or for the reasons above.
        """
        return cls(tuple(tuple(_step(text) for text in line.split(",")) for line in lines), **fields)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a policy from a file that `write` wrote.

        Raises:
            InputError: if the file does not exist, is damaged, has another version, or is not a policy.
        """
        content = read_json(Path(path))
        if not isinstance(content, dict) or not isinstance(content.get("sub_policies"), list):
            raise InputError(f"{path} is not a policy: it has no list of sub_policies")
        if content.get("version") != VERSION:
            raise InputError(
                f"{path} is a policy of version {content.get('version')!r}; this version of afield reads {VERSION}"
            )
        fields = {"bins": content.get("bins"), "origin": content.get("origin", {})}
        try:
            return cls.parse(map(str, content["sub_policies"]), **fields)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write version, sub-policies (one line each) and origin as JSON, atomically."""
        lines = {"version": VERSION, "bins": self.bins, "sub_policies": self.lines}
        write_json(Path(path), {**lines, "origin": dict(self.origin)})

    @property
    def lines(self) -> list[str]:
        """The lines that `parse` reads."""
        return [", ".join(map(str, sub_policy)) for sub_policy in self.sub_policies]

    @property
    def digest(self) -> str:
        """A hash of the policy. Policies with equal digests are equivalent."""
        return hashlib.sha256(canonical_json([VERSION, self.bins, self.lines]).encode()).hexdigest()[:16]

    def with_origin(self, **origin: Any) -> Self:
        """The same policy with another `origin`."""
        return dataclasses.replace(self, origin=origin)

    @cached_property
    def table(self) -> tuple[Tensor, Tensor, Tensor]:
        """Operations, probabilities and magnitudes, each ``[sub-policies, steps]``, padded with the identity."""
        length = max(map(len, self.sub_policies))
        rows = [(*steps, *[Step("identity", 0.0)] * (length - len(steps))) for steps in self.sub_policies]
        kinds = torch.tensor([[kind(step.operation) for step in row] for row in rows])
        probability = torch.tensor([[step.probability for step in row] for row in rows])
        return kinds, probability, torch.tensor([[step.magnitude for step in row] for row in rows])

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """Sample a sub-policy for each image, and replace operations by the identity as their probabilities say."""
        kinds, probability, level = self.table
        row = torch.randint(len(kinds), (len(images),), generator=generator)
        happens = torch.rand(len(images), kinds.shape[1], generator=generator) < probability[row]
        drawn = torch.where(happens, kinds[row], kind("identity"))
        return draws_of(drawn, level[row], narrow(self.bins, *images.shape[2:]), generator)


def _step(text: str) -> Step:
    """Parse ``"rotate 0.7 12"``, or ``"equalize 0.5"`` for an operation without magnitude."""
    operation, *numbers = text.split() or [""]
    if operation not in OPERATIONS:
        unknown_name("operation", operation, OPERATIONS)
    try:
        probability, magnitude = numbers if operation not in PLAIN else (*numbers, "0")
        return Step(operation, float(probability), int(magnitude))
    except ValueError:
        form = f"{operation} PROBABILITY" + ("" if operation in PLAIN else " MAGNITUDE")
        raise InputError(f"{text.strip()!r} must have the form {form!r}, with a whole number as magnitude") from None
