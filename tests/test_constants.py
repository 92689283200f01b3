"""Constants and defaults that are no option of a recipe, written out: a change of one changes results."""

import ast
import importlib
import inspect
import math
import operator
import pkgutil

import pytest

import afield
from afield import algorithms, augment, evaluation, heads, losses
from afield.data import splits

CONSTANTS = {
    "heads.angular": {"SIN_FLOOR": 1e-6},
    "heads.dropout": {"MANTISSA": 2**53 - 1, "MASKS": 2048, "MASK_SIZE": 2**18},
    "heads.kernel": {"NORM_FLOOR": 5e-3, "CHUNK_BYTES": 262_144},
    "heads.scale": {"AUTO_FACTOR": 2.0},
    "evaluation.bootstrap": {"RESAMPLES": 1000, "CHUNK": 4_194_304},
    "evaluation.collapse": {
        **{"SMALLEST_DISTANCE": 0.05, "SMALLEST_CHANGE": 0.05, "SMALLEST_SPREAD": 0.02, "LARGEST_SHARE_AT_BOUND": 0.5},
        **{"SMALLEST_PIXEL_DISTANCE": 0.01, "SMALLEST_SHARE_SPREAD": 0.1, "SMALLEST_SHARE_RECOGNIZED": 0.75},
    },
    "evaluation.confidence": {"TEMPERATURES": (0.05, 20.0)},
    "evaluation.shown_domains": {"SHOWN_DOMAINS": 24},
    "evaluation.statistics": {"LEAST_VALUES": 3},
    "evaluation.transferability": {"ROUNDS": 1000, "TOLERANCE": 1e-8, "EPS": 1e-10},
    "data.splits.fold": {"CROSS_VALIDATION_FOLDS": 5},
    "data.splits.validation": {"SMALL_DOMAIN": 1000, "SMALL_DOMAINS": 4096},
    "algorithms.adrmx": {"TEMPERATURE": 0.07},
    "algorithms.parts.alignment": {"TARGET": -1},
    "algorithms.and_mask": {"TINY": 1e-10},
    "algorithms.cad": {"BASE_TEMPERATURE": 0.07},
    "algorithms.cdan": {"LARGEST": 4096, "PROJECTIONS": 1024},
    "algorithms.parts.contrastive": {"SHORTEST": 0.1},
    "algorithms.parts.domain_norm": {"EPS": 1e-5, "MOMENTUM": 0.1},
    "algorithms.eqrm": {"STEPS": 60, "NARROWEST": 1e-6},
    "algorithms.parts.image_generator": {"EPS": 0.01},
    "algorithms.jigen": {"GRID": 3, "TILES": 9},
    "algorithms.miro": {"FIRST_VARIANCE": 0.1, "EPS": 1e-5},
    "algorithms.mixstyle": {"EPS": 1e-6},
    "algorithms.mmd": {"SCALES": (0.25, 0.5, 1.0, 2.0, 4.0)},
    "algorithms.mmd_aae": {"BANDWIDTHS": (1.0, 5.0, 10.0), "THUMBNAIL": 16},
    "algorithms.mmld": {"EPS": 1e-5},
    "algorithms.parts.optimal_transport": {"LENGTH_FLOOR": 5e-3},
    "algorithms.parts.perturbation_network": {"BLOCKS": 3},
    "algorithms.sagnet": {"EPS": 1e-5},
    "algorithms.sam": {"TINY": 1e-12},
    "algorithms.sand_mask": {"SMALLEST_VARIANCE": 1e-17},
    "algorithms.selfreg": {"FEATURE_FACTOR": 0.3},
    "algorithms.trm": {"INNER_RATE": 0.1, "INNER_STEPS": 30, "SERIES_TERMS": 10, "LARGEST": 10.0},
    "augment.color.float_images": {"LUMA": (0.2989, 0.587, 0.114)},
    "augment.color.hue": {"TINY": 1e-6, "LOWEST_AT": (5, 9)},
    "augment.erasing": {"TRIES": 10},
    "augment.learned.affine.game": {
        "TOLERANCE": 0.05,
        **{"TEACHER_DECAY": 0.99, "MULTIPLIER_RATE": 0.5, "LARGEST_MULTIPLIER": 1000.0, "DRAWS": 4, "NEAR_BOUND": 0.95},
    },
    "augment.learned.cyclegan.game": {"SMALLEST_SIDE": 8},
    "augment.learned.dagan.game": {"DRAWS": 4},
    "augment.learned.loop": {"CHECKPOINT_SECONDS": 20.0, "MEASURED": 512},
    "augment.networks.affine_augmentor": {"NOISE": 8, "FIRST_WIDTH": -2.0},
    "augment.networks.cyclegan_augmentor": {"NO_TARGET": -1, "ROUNDING": 1e-6},
    "augment.networks.localization": {"SIDE": 16},
    "augment.networks.variants": {"SIDE": 4},
    "augment.policies.augmix": {"DEPTH": 3},
    "augment.policies.operations": {"CHUNK": 524_288},
    "augment.policies.policy": {"VERSION": 1},
    "augment.spatial.crop": {"TRIES": 10},
}


@pytest.mark.parametrize(("module", "constants"), CONSTANTS.items())
def test_the_constants_of_a_module(module, constants):
    found = importlib.import_module(f"afield.{module}")
    assert {name: getattr(found, name) for name in constants} == constants


def test_every_number_is_written_out():
    names = []
    for folder in (algorithms, augment, evaluation, heads, losses, splits):
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


DEFAULTS = {
    "losses.class_counts:effective_weights": {"beta": 0.9999},
    "losses.criterion:Criterion.__init__": {"weight": None, "ignore_index": -100, "reduction": "mean"},
    "losses.criterion:Criterion.__init_subclass__": {"loss": None, "strength": None},
    "losses.registry:LossRegistry.add": {"reference": "-", "split": None, "check_classes": None},
    "losses.targets:prepare": {"classes": 1, "soft": True},
    "heads.angular:check_margins": {"margin_multiplier": 1.0, "margin_rad": 0.0, "margin_cos": 0.0},
    "heads.angular:multiply_angle": {"margin_rad": 0.0},
    "heads.cosine:class_vectors": {"generator": None},
    "heads.cosine:MarginHead.__init__": {"scale": "auto", "margin_warmup": 0},
    "heads.kernel:split_cosines": {"partial": False},
    "heads.scale:scale_floor": {"probability": 0.9},
    "objective:Objective.__init__": {"loss_options": None, "linear_losses": None, "neck": None},
    "objective:Objective.set_classes": {"weight": None, "weighted_from": 0.0, "adjustment": 0.0},
    "objective:Objective.risks": {"scale": None},
    "evaluation:bootstrap": {"level": 0.95},
    "evaluation.confidence:Scored.of": {"temperature": 1.0},
    "evaluation.metrics:measure": {"domains": None, "weight": None},
    "evaluation.new_place:difference_at_new_place": {"level": 0.95, "highest": math.inf, "sign": 1},
    "evaluation.registry:Metric": {"highest": 1.0, "percent": True, "lower_is_better": False, "by_domain": False},
    "evaluation.registry:Metric.text": {"sign": ""},
    "evaluation.registry:MetricRegistry.add": {"reference": "-"},
    "evaluation.statistics:estimate": {"level": 0.95, "within": (-math.inf, math.inf)},
    "evaluation.statistics:paired_difference": {"level": 0.95, "highest": math.inf},
    "evaluation.statistics:wilson": {"level": 0.95},
    "evaluation.statistics:labels_to_halve": {"level": 0.95},
    "data.splits:Validation": {"fraction": 0.1, "stratified": True, "lists": None},
    "data.splits:make_fold": {"unlabeled": None, "train_domains": ()},
    "data.splits:deal": {"groups": None},
    "training.batches:labeled": {"unlabeled": None},
    "algorithms.algorithm:Batch": {"target": None},
    "algorithms.parts.alignment:Alignment.__init__": {"penalty": 1.0},
    "algorithms.parts.annealing:Annealed": {"before": 1.0},
    "algorithms.parts.domain_network:DomainNetwork": {"width": 16},
    "algorithms.parts.image_generator:ImageGenerator": {"width": 16},
    "algorithms.parts.inner_step:inner_step": {"clip": math.inf},
    "algorithms.learning_loss:ranking_loss": {"margin": 1.0},
    "algorithms.metareg:MetaReg.penalty": {"learned": True},
    "algorithms.parts.optimal_transport:transport_distance": {"blur": 0.05, "rounds": 20},
    "algorithms.parts.risks:domain_risks": {"slopes": False, "embedded": None},
    "augment.chain:build_chain": {"learned": None},
    "augment.color.jitter:ColorJitter": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "augment.learned.cyclegan.classes:target_probabilities": {"probability": None},
    "augment.learned.cyclegan.patches:PatchDiscriminator": {"width": 16},
    "augment.learned.discriminator:Discriminator": {"width": 16, "channels": 3},
    "augment.learned.loop:Game.move": {"retain_graph": False},
    "augment.networks.localization:Localization": {"noise": 0},
    "augment.networks.translator:_block": {"stride": 1},
    "augment.networks.translator:_convolution": {"stride": 1},
    "augment.networks.variants:_block": {"stride": 1},
    "augment.networks.variants:_resize_and_concatenate": {"mode": "nearest"},
    "augment.policies.autoaugment:AutoAugment": {"policy": "imagenet"},
    "augment.policies.geometry:inverse_matrix": {**{"angle": 0.0, "shear": (0.0, 0.0), "center": (0.0, 0.0)}},
    "augment.policies.geometry:warp": {"interpolation": "nearest"},
    "augment.policies.operations:apply_draws": {"interpolation": "nearest"},
    "augment.spatial.affine:warp_affine": {"padding": "reflection"},
}


@pytest.mark.parametrize(("place", "expected"), DEFAULTS.items())
def test_the_defaults_of_a_function(place, expected):
    module, _, name = place.partition(":")
    parameters = inspect.signature(operator.attrgetter(name)(importlib.import_module(f"afield.{module}"))).parameters
    found = {
        key: parameter.default for key, parameter in parameters.items() if parameter.default is not parameter.empty
    }
    assert {key: (type(value), value) for key, value in found.items()} == {
        key: (type(value), value) for key, value in expected.items()
    }
