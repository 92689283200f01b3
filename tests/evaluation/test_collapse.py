"""Where a measure of a learned augmentation becomes a collapse."""

import pytest

from afield.evaluation import diagnose, diagnose_dagan, forgotten

SETTINGS = {"sign": "corrected", "discriminator": "none", "recognized": 0.9, "recognition_weight": 0.1}
AT_THE_LIMIT = {
    **{"distance": 0.05, "entropy_before": 0.0, "entropy_after": 0.05, "image_spread": 0.02, "draw_spread": 0.0},
    **{"at_bound": 0.5, "recognized_before": 1.0, "recognized_after": 0.75},
}
DAGAN_AT_THE_LIMIT = {"distance": 0.01, "draw_spread": 0.1 * 0.01, "recognized_before": 0.8, "recognized_after": 0.6001}


@pytest.mark.parametrize(
    ("measures", "collapses"),
    [
        ({}, []),
        ({"distance": 0.0499}, ["identity"]),
        ({"entropy_after": 0.0499}, ["identity"]),
        ({"entropy_before": 0.0001}, ["identity"]),
        ({"image_spread": 0.0199}, ["one corner"]),
        ({"image_spread": 0.0199, "draw_spread": 0.02}, []),
        ({"at_bound": 0.5001}, ["one corner"]),
        ({"recognized_after": 0.7499}, ["destroyed"]),
        ({"at_bound": 0.5001, "recognized_after": 0.7499}, ["one corner", "destroyed"]),
        ({"distance": 0.0499, "recognized_after": 0.1}, ["identity"]),
    ],
)
def test_the_limits_of_an_affine_augmentor(measures, collapses):
    assert list(diagnose(AT_THE_LIMIT | measures, SETTINGS)) == collapses


@pytest.mark.parametrize(
    ("measures", "collapses"),
    [
        ({}, []),
        ({"distance": 0.0099}, ["identity"]),
        ({"draw_spread": 0.00099}, ["one variant"]),
        ({"recognized_after": 0.5999}, ["destroyed"]),
        ({"draw_spread": 0.0, "recognized_after": 0.5999}, ["one variant", "destroyed"]),
    ],
)
def test_the_limits_of_a_generator_of_variants(measures, collapses):
    assert list(diagnose_dagan(DAGAN_AT_THE_LIMIT | measures, SETTINGS)) == collapses


def test_what_helps():
    identity = AT_THE_LIMIT | {"distance": 0.0}
    cases = {
        "sign=corrected helps": {"sign": "printed"},
        "discriminator=none helps": {"discriminator": "saturating"},
        "a smaller recognized helps": {"recognized": 0.91},
        "a larger entropy_weight or spread_weight helps": {},
    }
    for help, settings in cases.items():
        assert help in diagnose(identity, SETTINGS | settings)["identity"]
    assert "a larger entropy_weight" in diagnose(identity, SETTINGS | {"recognized": None})["identity"]
    variants = DAGAN_AT_THE_LIMIT | {"distance": 0.0}
    assert "a smaller recognition_weight" in diagnose_dagan(variants, SETTINGS)["identity"]
    assert "more epochs" in diagnose_dagan(variants, SETTINGS | {"recognition_weight": 0.0})["identity"]


@pytest.mark.parametrize(("first", "last", "found"), [(0.8, 0.6001, []), (0.8, 0.5999, ["forgotten"]), (0.0, 0.0, [])])
def test_the_limit_of_a_teacher_that_forgets(first, last, found):
    assert list(forgotten({"recognized_before": first}, {"recognized_before": last})) == found
