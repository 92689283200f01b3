"""Checks of augmentations."""

from collections.abc import Callable

import torch

from afield.augment import Augmentation, MixingAugmentation
from afield.testing.inputs import generator, images

MakeAugmentation = Callable[[], Augmentation]


def check_augmentation(augmentation: MakeAugmentation) -> None:
    """All checks of an augmentation, a class or function without required arguments."""
    for check in AUGMENTATION_CHECKS:
        check(augmentation)


def is_decided_by_the_generator(augmentation: MakeAugmentation) -> None:
    """The same generator gives the same images. Shape and dtype are kept, and the original images are unchanged."""
    made, given, before = augmentation(), images(), images()
    first, second = (made.apply(given, made.sample(given, generator(5))) for _ in range(2))
    assert torch.equal(first, second)
    assert (first.shape, first.dtype) == (given.shape, given.dtype)
    assert torch.equal(given, before), "the images are changed in place"


def leaves_global_random_numbers_alone(augmentation: MakeAugmentation) -> None:
    """The state of PyTorch's global generator does not change."""
    torch.manual_seed(0)
    before, made = torch.get_rng_state(), augmentation()
    made.apply(images(), made.sample(images(), generator()))
    assert torch.equal(torch.get_rng_state(), before)


def treats_an_image_as_in_a_batch(augmentation: MakeAugmentation) -> None:
    """Unless it mixes images, the result for an image does not depend on the others of the batch."""
    made, given = augmentation(), images()
    if isinstance(made, MixingAugmentation):
        return
    params = made.sample(given, generator())
    repeated = made.apply(given[:1].expand_as(given), params)
    torch.testing.assert_close(repeated[:1], made.apply(given, params)[:1], atol=1e-6, rtol=0)


AUGMENTATION_CHECKS = (is_decided_by_the_generator, leaves_global_random_numbers_alone, treats_an_image_as_in_a_batch)
"""The checks of `check_augmentation`."""
