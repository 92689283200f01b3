"""AutoAugment: the published policies; each image draws one pair of operations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, get_args

from torch import Generator, Tensor

from afield.augment.policies.operations import Draws, OnOperations
from afield.augment.policies.policy import Policy
from afield.augment.registry import AUGMENTATIONS

Name = Literal["cifar10", "imagenet", "svhn"]

POLICIES: dict[Name, str] = {
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
"""A pair of operations a line, see `Policy.parse`; of 10 bins of magnitudes."""


@dataclass(frozen=True)
class AutoAugment(OnOperations):
    """One of 25 pairs of operations, each operation with its probability and magnitude.

    Attributes:
        policy: ``"cifar10"``, ``"imagenet"`` or ``"svhn"``: what it was found on.

    Raises:
        ValueError: another policy.

    References:
        Cubuk et al., "AutoAugment", CVPR 2019, appendix, tables 7, 8 and 9.
    """

    policy: Name = "imagenet"

    def __post_init__(self) -> None:
        if self.policy not in get_args(Name):
            raise ValueError(f"policy must be one of {', '.join(get_args(Name))}, got {self.policy!r}")

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """See `afield.augment.Policy.sample`."""
        return published(self.policy).sample(images, generator)


@cache
def published(name: Name) -> Policy:
    """The policy of this name."""
    return Policy.parse(POLICIES[name].strip().splitlines(), bins=10)


for _name, _data in zip(get_args(Name), ("CIFAR-10", "ImageNet", "SVHN"), strict=True):
    AUGMENTATIONS.add(
        f"autoaugment_{_name}",
        partial(AutoAugment, _name),
        summary=f"One of 25 pairs of operations that were found on {_data}.",
        reference="Cubuk et al., AutoAugment, CVPR 2019.",
    )
