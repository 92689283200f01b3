"""A policy: a list of sub-policies; each image draws one of them."""

from __future__ import annotations

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
"""Of the file that `Policy.write` leaves."""

OPERATIONS = (*WIDE_KINDS, "invert")

PLAIN = ("identity", "autocontrast", "equalize", "invert")
"""Operations that take no magnitude."""


class Step(NamedTuple):
    """An operation, the probability that it takes place, and its bin of magnitudes; written ``rotate 0.7 12``."""

    operation: str
    probability: float
    magnitude: int = 0

    def __str__(self) -> str:
        return f"{self.operation} {self.probability}" + ("" if self.operation in PLAIN else f" {self.magnitude}")


@dataclass(frozen=True)
class Policy(OnOperations):
    """One of a list of sub-policies for each image, with equal chance; its operations follow one another.

    Attributes:
        sub_policies: operations in their order, each with probability and magnitude.
        bins: how many magnitudes there are, from 0 (no effect) to ``bins - 1`` (AutoAugment's greatest).
        origin: how the policy was found, as JSON can hold it; it takes no part in equality and digest.

    Raises:
        InputError: an unknown operation (the nearest are given), a probability or a magnitude out of range, or
            nothing at all.

    Example:
        >>> import torch
        >>> from afield.augment import Policy, describe
        >>> policy = Policy.parse(["posterize 1.0 30, invert 1.0, equalize 0.0"])
        >>> draws = policy.sample(torch.zeros(1, 3, 32, 32), torch.Generator().manual_seed(0))
        >>> describe(draws, 0)
        'posterize 4, invert'

    References:
        Cubuk et al., "AutoAugment", CVPR 2019, section 3; the ranges are its, as torchvision has them.
    """

    sub_policies: tuple[tuple[Step, ...], ...]
    bins: int = 31
    origin: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_number("bins", self.bins, 2, 1000, whole=True)
        if not self.sub_policies or not all(self.sub_policies):
            raise InputError("a policy needs at least one sub-policy, and each of them an operation")
        for step in (step for sub_policy in self.sub_policies for step in sub_policy):
            if step.operation not in OPERATIONS:
                unknown_name("operation", step.operation, OPERATIONS)
            if not 0 <= step.probability <= 1:
                raise InputError(f"{str(step)!r}: the probability must lie between 0 and 1, got {step.probability}")
            if not 0 <= step.magnitude < self.bins:
                raise InputError(f"{str(step)!r}: the magnitude must lie between 0 and {self.bins - 1}")

    @classmethod
    def parse(cls, lines: Iterable[str], **fields: Any) -> Self:
        """A policy of a line for each sub-policy, as ``"rotate 0.7 12, equalize 0.5"``; fields as in the class.

        Raises:
            InputError: a line of another form, or see above.
        """
        return cls(tuple(tuple(_step(text) for text in line.split(",")) for line in lines), **fields)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The policy that `write` left in a file.

        Raises:
            InputError: no such file, damaged, of another version, or not a policy.
        """
        content = read_json(Path(path))
        if not isinstance(content, dict) or not isinstance(content.get("sub_policies"), list):
            raise InputError(f"{path} is no policy: it has no list of sub_policies")
        if content.get("version") != VERSION:
            raise InputError(f"{path} is a policy of version {content.get('version')!r}; this afield reads {VERSION}")
        fields = {"bins": content.get("bins"), "origin": content.get("origin", {})}
        try:
            return cls.parse(map(str, content["sub_policies"]), **fields)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write JSON, atomically: a version, a line for each sub-policy, and the origin."""
        lines = {"version": VERSION, "bins": self.bins, "sub_policies": self.lines}
        write_json(Path(path), {**lines, "origin": dict(self.origin)})

    @property
    def lines(self) -> list[str]:
        """What `parse` reads."""
        return [", ".join(map(str, sub_policy)) for sub_policy in self.sub_policies]

    @property
    def digest(self) -> str:
        """Identifies the policy: policies with equal digests draw the same."""
        return hashlib.sha256(canonical_json([VERSION, self.bins, self.lines]).encode()).hexdigest()[:16]

    def with_origin(self, **origin: Any) -> Self:
        """The same policy with another `origin`."""
        return dataclasses.replace(self, origin=origin)

    @cached_property
    def table(self) -> tuple[Tensor, Tensor, Tensor]:
        """Operations, probabilities and magnitudes, each ``[sub-policies, steps]``; short ones end with identities."""
        length = max(map(len, self.sub_policies))
        rows = [(*steps, *[Step("identity", 0.0)] * (length - len(steps))) for steps in self.sub_policies]
        kinds = torch.tensor([[kind(step.operation) for step in row] for row in rows])
        probability = torch.tensor([[step.probability for step in row] for row in rows])
        return kinds, probability, torch.tensor([[step.magnitude for step in row] for row in rows])

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """Draw a sub-policy for each image, and which of its operations take place; the others are the identity."""
        kinds, probability, level = self.table
        row = torch.randint(len(kinds), (len(images),), generator=generator)
        happens = torch.rand(len(images), kinds.shape[1], generator=generator) < probability[row]
        drawn = torch.where(happens, kinds[row], kind("identity"))
        return draws_of(drawn, level[row], narrow(self.bins, *images.shape[2:]), generator)


def _step(text: str) -> Step:
    """``"rotate 0.7 12"``, or ``"equalize 0.5"`` of an operation that takes no magnitude."""
    operation, *numbers = text.split() or [""]
    if operation not in OPERATIONS:
        unknown_name("operation", operation, OPERATIONS)
    try:
        probability, magnitude = numbers if operation not in PLAIN else (*numbers, "0")
        return Step(operation, float(probability), int(magnitude))
    except ValueError:
        form = f"{operation} PROBABILITY" + ("" if operation in PLAIN else " MAGNITUDE")
        raise InputError(f"{text.strip()!r} must have the form {form!r}, with a whole number as magnitude") from None
