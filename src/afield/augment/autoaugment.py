"""AutoAugment: the published policies, of which each image draws one pair of operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from afield.augment.calling import OnBatch
from afield.augment.magnitudes import draws_of, magnitudes
from afield.augment.operations import apply_draws, kind
from afield.augment.params import Draws
from afield.augment.registry import AUGMENTATIONS

Policy = Literal["cifar10", "imagenet", "svhn"]

POLICIES: dict[Policy, str] = {
    "cifar10": """
        invert 0.1, contrast 0.2 6
        rotate 0.7 2, translate_x 0.3 9
        sharpness 0.8 1, sharpness 0.9 3
        shear_y 0.5 8, translate_y 0.7 9
        autocontrast 0.5, equalize 0.9
        shear_y 0.2 7, posterize 0.3 7
        color 0.4 3, brightness 0.6 7
        sharpness 0.3 9, brightness 0.7 9
        equalize 0.6, equalize 0.5
        contrast 0.6 7, sharpness 0.6 5
        color 0.7 7, translate_x 0.5 8
        equalize 0.3, autocontrast 0.4
        translate_y 0.4 3, sharpness 0.2 6
        brightness 0.9 6, color 0.2 8
        solarize 0.5 2, invert 0
        equalize 0.2, autocontrast 0.6
        equalize 0.2, equalize 0.6
        color 0.9 9, equalize 0.6
        autocontrast 0.8, solarize 0.2 8
        brightness 0.1 3, color 0.7 0
        solarize 0.4 5, autocontrast 0.9
        translate_y 0.9 9, translate_y 0.7 9
        autocontrast 0.9, solarize 0.8 3
        equalize 0.8, invert 0.1
        translate_y 0.7 9, autocontrast 0.9
    """,
    "imagenet": """
        posterize 0.4 8, rotate 0.6 9
        solarize 0.6 5, autocontrast 0.6
        equalize 0.8, equalize 0.6
        posterize 0.6 7, posterize 0.6 6
        equalize 0.4, solarize 0.2 4
        equalize 0.4, rotate 0.8 8
        solarize 0.6 3, equalize 0.6
        posterize 0.8 5, equalize 1
        rotate 0.2 3, solarize 0.6 8
        equalize 0.6, posterize 0.4 6
        rotate 0.8 8, color 0.4 0
        rotate 0.4 9, equalize 0.6
        equalize 0, equalize 0.8
        invert 0.6, equalize 1
        color 0.6 4, contrast 1 8
        rotate 0.8 8, color 1 2
        color 0.8 8, solarize 0.8 7
        sharpness 0.4 7, invert 0.6
        shear_x 0.6 5, equalize 1
        color 0.4 0, equalize 0.6
        equalize 0.4, solarize 0.2 4
        solarize 0.6 5, autocontrast 0.6
        invert 0.6, equalize 1
        color 0.6 4, contrast 1 8
        equalize 0.8, equalize 0.6
    """,
    "svhn": """
        shear_x 0.9 4, invert 0.2
        shear_y 0.9 8, invert 0.7
        equalize 0.6, solarize 0.6 6
        invert 0.9, equalize 0.6
        equalize 0.6, rotate 0.9 3
        shear_x 0.9 4, autocontrast 0.8
        shear_y 0.9 8, invert 0.4
        shear_y 0.9 5, solarize 0.2 6
        invert 0.9, autocontrast 0.8
        equalize 0.6, rotate 0.9 3
        shear_x 0.9 4, solarize 0.3 3
        shear_y 0.8 8, invert 0.7
        equalize 0.9, translate_y 0.6 6
        invert 0.9, equalize 0.6
        contrast 0.3 3, rotate 0.8 4
        invert 0.8, translate_y 0 2
        shear_y 0.7 6, solarize 0.4 8
        invert 0.6, rotate 0.8 4
        shear_y 0.3 7, translate_x 0.9 3
        shear_x 0.1 6, invert 0.6
        solarize 0.7 2, translate_y 0.6 7
        shear_y 0.8 4, invert 0.8
        shear_x 0.7 9, translate_y 0.8 3
        shear_y 0.8 5, autocontrast 0.7
        shear_x 0.7 2, invert 0.1
    """,
}
"""A pair of operations a line: name, probability and bin of 10 where the operation has a magnitude."""


@dataclass(frozen=True)
class AutoAugment(OnBatch):
    """One of 25 pairs of operations, each operation with its probability and magnitude.

    Attributes:
        policy: ``"cifar10"``, ``"imagenet"`` or ``"svhn"``: what it was found on.

    Raises:
        ValueError: another policy.

    References:
        Cubuk et al., "AutoAugment", CVPR 2019, appendix, tables 7, 8 and 9.
    """

    policy: Policy = "imagenet"
    takes_bytes = True

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise ValueError(f"policy must be one of {', '.join(get_args(Policy))}, got {self.policy!r}")

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """Draw a pair for each image, and which of the two take place; the other is the identity."""
        kinds, probability, level = pairs(self.policy)
        row = torch.randint(len(kinds), (len(images),), generator=generator)
        happens = torch.rand(len(images), 2, generator=generator) < probability[row]
        height, width = images.shape[2:]
        reach = (150.0 / 331.0 * width, 150.0 / 331.0 * height)
        space = magnitudes(10, shear=0.3, translate=reach, rotate=30.0, factor=0.9, bits=(8, 4))
        return draws_of(torch.where(happens, kinds[row], kind("identity")), level[row], space, generator)

    def apply(self, images: Tensor, params: Draws) -> Tensor:
        """See `afield.augment.operations.apply_draws`."""
        return apply_draws(images, params)


def pairs(policy: Policy) -> tuple[Tensor, Tensor, Tensor]:
    """Operations, probabilities and bins of a policy, each ``[25, 2]``."""
    lines = [[step.split() for step in line.split(", ")] for line in POLICIES[policy].strip().splitlines()]
    kinds = torch.tensor([[kind(step[0]) for step in line] for line in lines])
    probability = torch.tensor([[float(step[1]) for step in line] for line in lines])
    level = torch.tensor([[int(step[2]) if len(step) > 2 else 0 for step in line] for line in lines])
    return kinds, probability, level


for _policy, _data in zip(get_args(Policy), ("CIFAR-10", "ImageNet", "SVHN"), strict=True):
    AUGMENTATIONS.add(
        f"autoaugment_{_policy}",
        partial(AutoAugment, _policy),
        summary=f"One of 25 pairs of operations that were found on {_data}.",
        reference="Cubuk et al., AutoAugment, CVPR 2019.",
    )
