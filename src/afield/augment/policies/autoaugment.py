"""AutoAugment with the published policies, which sample one pair of operations for each image."""

import re
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, get_args

from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS
from afield.augment.policies.operations import Draws, OnOperations
from afield.augment.policies.policy import Policy, Step
from afield.validation import Checked

Name = Literal["cifar10", "imagenet", "svhn"]


@dataclass(frozen=True)
class AutoAugment(Checked, OnOperations):
    """Applies one of 25 pairs of operations, each operation with its probability and magnitude.

    Attributes:
        policy: ``"cifar10"``, ``"imagenet"`` or ``"svhn"``, the data set of the search.

    Raises:
        InputError: if the policy is unknown.

    References:
        Cubuk et al., "AutoAugment", CVPR 2019, appendix, tables 7, 8 and 9.
    """

    policy: Name = "imagenet"

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """See `afield.augment.Policy.sample`."""
        return published(self.policy).sample(images, generator)


@cache
def published(name: Name) -> Policy:
    """The policy with this name, from torchvision's tables, with 10 magnitude bins."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    pairs = AutoAugment(AutoAugmentPolicy(name)).policies
    return Policy(
        tuple(tuple(Step(_own_name(kind), p, bin_ or 0) for kind, p, bin_ in pair) for pair in pairs), bins=10
    )


def _own_name(kind: str) -> str:
    """The name of an operation in afield: ``ShearX`` -> ``shear_x``, ``AutoContrast`` -> ``autocontrast``."""
    return re.sub(r"(?<=[a-z])(?=[XY]$)", "_", kind).lower()


for _name, _data in zip(get_args(Name), ("CIFAR-10", "ImageNet", "SVHN"), strict=True):
    AUGMENTATIONS.add(
        f"autoaugment_{_name}",
        partial(AutoAugment, _name),
        summary=f"Applies one of 25 pairs of operations from a search on {_data}.",
        reference="Cubuk et al., AutoAugment, CVPR 2019.",
    )
