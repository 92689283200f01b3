"""The numbers that are no option of anything, written out: a change of one changes results."""

import ast
import importlib
import inspect
import pkgutil

import pytest

import afield
from afield import algorithms, augment, evaluation, heads, losses

CONSTANTS = {
    "heads.angular": {"SIN_FLOOR": 1e-6},
    "heads.kernel": {"NORM_FLOOR": 5e-3, "CHUNK_BYTES": 262_144},
    "heads.scale": {"AUTO_FACTOR": 2.0},
    "evaluation.bootstrap": {"RESAMPLES": 1000, "CHUNK": 4_194_304},
    "evaluation.collapse": {
        **{"SMALLEST_DISTANCE": 0.05, "SMALLEST_GAIN": 0.05, "SMALLEST_SPREAD": 0.02, "LARGEST_SHARE_AT_BOUND": 0.5},
        **{"SMALLEST_PIXEL_DISTANCE": 0.01, "SMALLEST_SHARE_SPREAD": 0.1, "SMALLEST_SHARE_RECOGNIZED": 0.75},
    },
    "evaluation.confidence": {"TEMPERATURES": (0.05, 20.0)},
    "evaluation.statistics": {"LEAST_VALUES": 3},
    "data.splits": {"CROSS_VALIDATION_FOLDS": 5},
    "algorithms.and_mask": {"TINY": 1e-10},
    "algorithms.cad": {"BASE_TEMPERATURE": 0.07},
    "algorithms.cdan": {"LARGEST": 4096, "PROJECTIONS": 1024},
    "algorithms.domain_norm": {"EPS": 1e-5, "MOMENTUM": 0.1},
    "algorithms.eqrm": {"STEPS": 60, "NARROWEST": 1e-6},
    "algorithms.image_generator": {"EPS": 0.01},
    "algorithms.jigen": {"GRID": 3, "TILES": 9},
    "algorithms.miro": {"FIRST_VARIANCE": 0.1, "EPS": 1e-5},
    "algorithms.mixstyle": {"EPS": 1e-6},
    "algorithms.mmd": {"SCALES": (0.25, 0.5, 1.0, 2.0, 4.0)},
    "algorithms.mmd_aae": {"BANDWIDTHS": (1.0, 5.0, 10.0), "THUMBNAIL": 16},
    "algorithms.mmld": {"EPS": 1e-5},
    "algorithms.optimal_transport": {"LENGTH_FLOOR": 5e-3},
    "algorithms.sagnet": {"EPS": 1e-5},
    "algorithms.sam": {"TINY": 1e-12},
    "algorithms.sand_mask": {"SMALLEST_VARIANCE": 1e-17},
    "algorithms.selfreg": {"FEATURE_FACTOR": 0.3},
    "augment.color.float_images": {"LUMA": (0.2989, 0.587, 0.114)},
    "augment.color.hue": {"TINY": 1e-6, "LOWEST_AT": (5, 9, 1)},
    "augment.erasing": {"TRIES": 10},
    "augment.learned.affine.game": {
        **{"TEACHER_DECAY": 0.99, "MULTIPLIER_RATE": 0.5, "LARGEST_MULTIPLIER": 1000.0, "DRAWS": 4, "NEAR_BOUND": 0.95}
    },
    "augment.learned.dagan.game": {"DRAWS": 4},
    "augment.learned.loop": {"CHECKPOINT_SECONDS": 20.0, "MEASURED": 512},
    "augment.networks.affine_augmentor": {"NOISE": 8, "FIRST_WIDTH": -2.0},
    "augment.networks.localization": {"SIDE": 16},
    "augment.networks.variants": {"SIDE": 4},
    "augment.policies.augmix": {"DEPTH": 3},
    "augment.policies.operations": {"CHUNK": 1_048_576},
    "augment.policies.policy": {"VERSION": 1},
    "augment.spatial.crop": {"TRIES": 10},
}


@pytest.mark.parametrize(("module", "constants"), CONSTANTS.items())
def test_the_constants_of_a_module(module, constants):
    found = importlib.import_module(f"afield.{module}")
    assert {name: getattr(found, name) for name in constants} == constants


def test_every_number_is_written_out():
    names = ["data.splits"]
    for folder in (algorithms, augment, evaluation, heads, losses):
        names += [
            each.name.removeprefix("afield.") for each in pkgutil.walk_packages(folder.__path__, folder.__name__ + ".")
        ]
    for name in names:
        module = importlib.import_module(f"{afield.__name__}.{name}")
        targets = [
            target.id
            for statement in ast.parse(inspect.getsource(module)).body
            if isinstance(statement, ast.Assign)
            for each in statement.targets
            for target in ast.walk(each)
            if isinstance(target, ast.Name)
        ]
        values = {target: getattr(module, target) for target in targets if target.isupper()}
        numbers = {
            target
            for target, value in values.items()
            if type(value) in (int, float) or (isinstance(value, tuple) and all(type(v) in (int, float) for v in value))
        }
        assert numbers == {*CONSTANTS.get(name, {})}, name
