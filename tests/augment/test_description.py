"""Drawn parameters in words."""

from __future__ import annotations

import torch

from afield.augment import AffineParams, AlternatingFlip, Draws, Translate, Visit, in_words
from afield.augment.boxes import Boxes
from afield.augment.mixing import CutPairs, Pairs
from afield.augment.networks.dagan_augmentor import DaganParams
from afield.augment.params import PerImage
from afield.augment.policies.augmix import MixtureDraws
from afield.augment.policies.operations import kind
from afield.augment.spatial.crop import CropBoxes
from afield.augment.spatial.translate import Shifts
from afield.augment.standard import StandardParams
from tests.images import batch_of_bytes


def test_draws_in_words():
    images = batch_of_bytes()
    params = Translate().sample(images, torch.Generator().manual_seed(0))
    place = int((params.down != 0).nonzero()[0])
    assert in_words(params, place, (9, 9)) == f"shift {params.right[place]}, {params.down[place]} px"
    flips = AlternatingFlip().sample_at(images, torch.Generator(), Visit(torch.arange(6), 0, 0))
    assert [in_words(flips, i, (9, 9)) == "flipped" for i in range(6)] == flips.flip.tolist()


def words(params: PerImage, size: tuple[int, int] = (40, 20)) -> list[str]:
    """The descriptions of all images, 40 pixels high and 20 wide."""
    return [in_words(params, i, size) for i in range(len(params))]


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_boxes_in_words():
    edges = (numbers(3, 5), numbers(10, 5), numbers(2, 1), numbers(7, 4))
    assert words(Boxes(*edges)) == ["box of 5 x 7 px at 2, 3", "unchanged"]
    assert Boxes(*edges).area.tolist() == [35, 0]
    crops = CropBoxes(*edges, torch.tensor([True, False]))
    assert words(crops) == ["crop of 5 x 7 px at 2, 3, flipped", "crop of 3 x 0 px at 1, 5"]


def test_mixed_images_in_words():
    partner, share = numbers(1, 0), numbers(0.7, 1.0)
    assert words(Pairs(partner, share)) == ["70 % original, 30 % of image 1", "unchanged"]
    edges = (numbers(3, 5), numbers(10, 5), numbers(2, 1), numbers(7, 4))
    assert words(CutPairs(partner, share, *edges)) == ["30 % of image 1: box of 5 x 7 px at 2, 3", "unchanged"]
    kinds = torch.tensor([[kind("rotate"), 0, 0, kind("equalize"), kind("invert"), 0]])
    magnitudes = torch.tensor([[27.0, 0, 0, 0, 0, 0]])
    mixture = MixtureDraws(torch.tensor([[0.5, 0.3, 0.2]]), kinds, magnitudes)
    assert words(mixture) == ["50 % original + 30 % (rotate 27) + 20 % (equalize, invert)"]


def test_crops_and_colors_in_words():
    params = StandardParams(
        center_x=numbers(0, 0.25, 0.5, 0),
        center_y=numbers(0, 0, -0.25, 0),
        half_width=numbers(1, 0.75, 0.5, 1),
        half_height=numbers(1, 1, 0.5, 1),
        flip=torch.tensor([False, False, True, False]),
        brightness=numbers(1, 1, 0.5, 1),
        contrast=numbers(1, 1, 1, 1.25),
        saturation=numbers(1, 1, 1, 0.75),
        hue=numbers(0, 0, 0, -0.49),
    )
    assert words(params) == [
        "unchanged",
        "crop of 15.0 x 40.0 px at 5.0, 0.0",
        "crop of 10.0 x 20.0 px at 10.0, 5.0, flipped, brightness x 0.50",
        "contrast x 1.25, saturation x 0.75, hue -176°",
    ]


def test_places_operations_and_variants_in_words():
    applied = torch.tensor([True, False])
    theta = torch.tensor([[[1.0, 0, 0.5], [0, 1.0, 0]]]).repeat(2, 1, 1)
    assert words(AffineParams(theta, applied)) == ["0°, 1.00 x 1.00, shear 0.00, shift -5.0, 0.0 px", "unchanged"]
    assert words(DaganParams(torch.zeros(2, 3), applied)) == ["a variant", "unchanged"]
    assert words(Shifts(numbers(0, 2, 0), numbers(0, 0, -1))) == ["unchanged", "shift 0, 2 px", "shift -1, 0 px"]
    draws = Draws(torch.tensor([[0, kind("rotate")], [0, 0]]), torch.tensor([[0, -12.345], [0, 0]]))
    assert words(draws) == ["rotate -12.3", "unchanged"]


def test_chains_and_what_has_no_words():
    class Other(PerImage):
        pass

    flipped = AlternatingFlip().sample_at(torch.empty(2, 3, 1, 1), torch.Generator(), Visit(torch.arange(2), 0, 0))
    shifts = Shifts(numbers(1, 0), numbers(0, 0))
    steps = (None, shifts, flipped)
    assert in_words(steps, 0, (9, 9)) == "shift 0, 1 px" + ("; flipped" if flipped.flip[0] else "")
    assert in_words((None, None), 0, (9, 9)) == "unchanged"
    assert in_words(3.0, 0, (9, 9)) == "float"
    assert Other().describe(0, (9, 9)) == "Other"
    assert len(shifts) == 2
    assert shifts[1:].down.tolist() == [0]
