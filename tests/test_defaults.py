"""The defaults, ranges and declarations of the parts, written out: a change of one changes results, or what is refused.

The values are those that the docstrings give, most of them from the papers.
"""

import dataclasses
import inspect
import math
import re
import sys
from pathlib import Path

import pytest
import torch

from afield.algorithms import ALGORITHMS, AVERAGINGS, Algorithm
from afield.augment import (
    AUGMENTATIONS,
    AffineBounds,
    AugmentorConfig,
    AugMix,
    DaganConfig,
    RandomAffine,
    Standard,
    TranslatorConfig,
)
from afield.augment.learned import AffineSettings, CycleGanSettings, DaganSettings
from afield.errors import InputError
from afield.heads import HEADS
from afield.losses import (
    LOSSES,
    ComplementEntropy,
    ComplementFlattening,
    ConfidencePenalty,
    CrossEntropy,
    Focal,
    GuidedComplementEntropy,
    LabelSmoothing,
    MaxEntropy,
)
from afield.models import ResNet8
from afield.validation import settings_of
from tests.classifiers import small_classifier

MARGIN = {"scale": "auto", "gradient": "straight_through", "margin_warmup": 0}
COMBINED = {**MARGIN, "margin_multiplier": 1.0, "margin_rad": 0.1, "margin_cos": 0.0}
DEFAULTS = {
    ("loss", LOSSES): {
        "cross_entropy": {"temperature": 1.0},
        "label_smoothing": {"smoothing": 0.1, "temperature": 1.0},
        "confidence_penalty": {},
        "complement_entropy": {},
        "complement_flattening": {},
        "focal": {"gamma": 2.0},
        "guided_complement_entropy": {"alpha": 1 / 3},
        "max_entropy": {"sign": "corrected", "form": "log", "eps": 0.001},
        "balanced_softmax": {"counts": None},
        "logit_adjustment": {"tau": 1.0, "counts": None},
        "ldam": {"largest_margin": 0.5, "scale": 30.0, "counts": None},
    },
    ("head", HEADS): {
        "linear": {},
        "cosine": {"scale": "auto"},
        "adacos": {},
        "arcface": {**MARGIN, "margin_rad": 0.1},
        "cosface": {"scale": "auto", "margin_cos": 0.1, "margin_warmup": 0},
        "sphereface": {**MARGIN, "margin_multiplier": 1.2},
        "subcenter_arcface": {**MARGIN, "margin_rad": 0.1, "centers": 3},
        "combined": COMBINED,
        "sharded": COMBINED,
        "partial_fc": {**COMBINED, "share": 0.1},
    },
    ("algorithm", ALGORITHMS): {
        "erm": {},
        "coral": {"penalty": 1.0},
        "irm": {"penalty": 1.0, "anneal": 0.5},
        "vrex": {"penalty": 1.0, "anneal": 0.1},
        "groupdro": {"rate": 0.01},
        "mldg": {"beta": 1.0, "inner_rate": 5e-4},
        "masf": {
            **{"inner_rate": 1e-5, "clip": 2.0, "alignment": 1.0, "metric": 0.005},
            **{"temperature": 2.0, "margin": 10.0},
        },
        "metareg": {"share": 0.5, "inner_steps": 5, "inner_rate": 1e-3},
        "epi_fcr": {"features": 2.0, "head": 0.05, "random": 0.1, "warm_up": 1 / 6},
        "mixstyle": {"probability": 0.5, "alpha": 0.1, "stages": None, "mix": "random"},
        "domain_mixup": {"alpha": 0.2},
        "rsc": {"features": 1 / 3, "examples": 1 / 3},
        "jigen": {"weight": 0.7, "ordered": 0.6, "count": 30},
        "crossgrad": {"step": 1.0, "share": 0.5},
        "l2a_ot": {"share": 0.5, "distance": 1.0, "cycle": 10.0, "keep": 1.0, "warmup": 0.1},
        "mmd_aae": {"reconstruction": 0.1, "mmd": 1.0, "adversary": 0.1, "hidden": 128},
        "mmld": {"clusters": None, "stages": 2, "adversary": 1.0, "entropy": 1.0, "hidden": 1024},
        "dann": {"adversary": 0.1, "hidden": 1024},
        "cdan": {"adversary": 1.0, "hidden": 1024},
        "deep_coral": {"penalty": 1.0},
        "mmd": {"penalty": 1.0},
        "mcc": {"confusion": 1.0, "temperature": 2.5},
        "mcd": {"discrepancy": 1.0},
        "amplitude_mix": {"strength": 1.0},
        "and_mask": {"agreement": 1.0},
        "sand_mask": {"agreement": 0.5, "steepness": 10.0},
        "cad": {"penalty": 0.1, "temperature": 0.1, "normalized": False},
        "cond_cad": {"penalty": 0.1, "temperature": 0.1, "normalized": False},
        "causirl_coral": {"penalty": 1.0},
        "causirl_mmd": {"penalty": 1.0},
        "domain_dann": {"adversary": 0.1, "hidden": 256},
        "cdann": {"adversary": 0.1, "hidden": 256},
        "domain_mmd": {"penalty": 1.0},
        "efdm": {"probability": 0.5, "alpha": 0.1, "stages": None, "mix": "random"},
        "eqrm": {"quantile": 0.75, "warmup": 0.5},
        "fish": {"inner_rate": 0.01},
        "fishr": {"penalty": 1000.0, "anneal": 0.3, "decay": 0.95},
        "ib_erm": {"penalty": 100.0, "anneal": 0.1},
        "ib_irm": {"penalty": 100.0, "bottleneck": 100.0, "anneal": 0.1},
        "iga": {"penalty": 0.01},
        "learning_loss": {"weight": 1.0, "margin": 1.0, "cutoff": 0.6},
        "lp_ft": {"head": 0.3},
        "miro": {"penalty": 0.1},
        "rdm": {"penalty": 5.0, "anneal": 0.3},
        "sam": {"radius": 0.05},
        "sagm": {"radius": 0.05, "alpha": 0.001},
        "sagnet": {"adversary": 0.1},
        "sd": {"penalty": 0.1},
        "selfreg": {"penalty": 1.0},
        "arm": {"support": 8, "width": 64},
        "mtl": {"decay": 0.01},
        "transfer": {"penalty": 1.0, "radius": 2.0, "steps": 10, "rate": 1e-3},
        "trm": {"implicit": 1e-4, "warmup": 0.04, "rate": 0.01},
        "adrmx": {"contrast": 1.0, "remix": 1.0, "adversary": 0.75, "hidden": 256},
        "urm": {"adversary": 0.1, "hidden": 100},
        "ddaig": {"strength": 0.3, "share": 0.5, "width": 32},
    },
    ("averaging", AVERAGINGS): {
        "ema": {"decay": 0.999},
        "lookahead": {"every": 5, "keep": 0.95},
        "sma": {"start": 0.02},
        "swad": {"converged": 3, "overfitted": 6, "tolerance": 1.3, "looks": 25},
    },
}
CASES = [
    pytest.param(registry[name], options, id=f"{kind}-{name}")
    for (kind, registry), entries in DEFAULTS.items()
    for name, options in entries.items()
]

AUGMENTATION = {
    "alternating_flip": {},
    "augmix": {"severity": 3, "width": 3, "alpha": 1.0},
    "autoaugment_cifar10": {},
    "autoaugment_imagenet": {},
    "autoaugment_svhn": {},
    "color_jitter": {},
    "crop": {"scale": (0.8, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.0, "brightness": 0.0, "contrast": 0.0}
    | {"saturation": 0.0, "hue": 0.0},
    "crop_flip": {"scale": (0.8, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.5, "brightness": 0.0, "contrast": 0.0}
    | {"saturation": 0.0, "hue": 0.0},
    "crop_flip_jitter": {"scale": (0.8, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.5, "brightness": 0.4, "contrast": 0.4}
    | {"saturation": 0.4, "hue": 0.4},
    "cutmix": {"alpha": 1.0},
    "cutout": {"size": 0.5, "fill": 0.0},
    "jigen_crop": {"size": None, "scale": (0.8, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.5},
    "mixup": {"alpha": 0.2},
    "none": {},
    "random_conv": {"sizes": (1, 3, 5, 7), "mix": True, "p": 1.0},
    "random_affine": {"bounds": AffineBounds(15.0, 1.2, 0.0, 0.2), "probability": 1.0, "padding": "reflection"},
    "random_erasing": {"p": 0.5, "scale": (0.02, 0.33), "ratio": (0.3, 3.3), "fill": 0.0},
    "randaugment": {"num_ops": 2, "magnitude": 9, "bins": 31},
    "resized_crop": {"size": None, "scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.5},
    "translate": {"pixels": 2},
    "trivialaugment": {"bins": 31},
}
SETTINGS = {
    AffineBounds: {
        "rotation": (30.0, 0, 180),
        "scale": (1.4, 1, 10),
        "shear": (0.3, 0, 10),
        "translation": (0.25, 0, 1),
    },
    AugmentorConfig: {
        **{"form": "bounded", "draw": "distribution", "bounds": AffineBounds(), "probability": (0.5, 0, 1)},
        **{"padding": "reflection"},
    },
    DaganConfig: {"noise": (32, 1, 10_000), "width": (16, 4, 10_000), "probability": (0.5, 0, 1)},
    AffineSettings: {
        **{"augmentor": AugmentorConfig(), "sign": "corrected", "form": "log", "entropy_weight": (2.0, 0, 1000)},
        **{"target_entropy": (None, 0, 1), "discriminator": "none", "recognized": (0.9, 0, 1)},
        **{"recognition_weight": (None, 0, 1000), "spread_weight": (0.1, 0, 1000), "refresh": True},
        **{"refresh_rate": (0.02, 1e-12, 1000), "epochs": (10, 1, 100_000), "batch_size": (128, 1, 1_000_000)},
        **{"learning_rate": (1e-3, 1e-12, 1000), "discriminator_rate": (1e-4, 1e-12, 1000)},
        **{"epoch_steps": (40, 1, 1_000_000), "stop_steps": (400, 1, 1_000_000)},
    },
    DaganSettings: {
        **{"augmentor": DaganConfig(), "recognition_weight": (0.1, 0, 1000), "spread_weight": (0.0, 0, 1000)},
        **{"critic_steps": (5, 1, 1000), "penalty_weight": (10.0, 0, 1000), "epochs": (30, 1, 100_000)},
        **{"batch_size": (64, 1, 1_000_000), "learning_rate": (1e-3, 1e-12, 1000)},
    },
    TranslatorConfig: {"width": (16, 1, 10_000), "blocks": (3, 1, 100)},
    CycleGanSettings: {
        **{"reference": None, "targets": None, "probability": (None, 0, 1), "network": TranslatorConfig()},
        **{"cycle_weight": (10.0, 0, 1000), "identity_weight": (5.0, 0, 1000), "pool": (50, 0, 100_000)},
        **{"epochs": (20, 1, 100_000), "epoch_steps": (100, 1, 1_000_000), "batch_size": (16, 1, 1_000_000)},
        **{"learning_rate": (2e-4, 1e-12, 1000)},
    },
    AugMix: {"severity": (3, 1, 10), "width": (3, 1, 100), "alpha": (1.0, 1e-6, 1e6)},
}
RANGES = [
    pytest.param(config, name, *bounds, id=f"{config.__name__}-{name}")
    for config, entries in SETTINGS.items()
    for name, bounds in entries.items()
    if isinstance(bounds, tuple)
]

STRENGTH = {
    **{CrossEntropy: None, LabelSmoothing: None, Focal: None, GuidedComplementEntropy: None},
    **{ConfidencePenalty: 0.1, ComplementEntropy: 1.0, ComplementFlattening: 0.5, MaxEntropy: 0.1},
}


@pytest.mark.parametrize(("part", "options"), CASES)
def test_defaults_of_a_part(part, options):
    parameters = inspect.signature(part).parameters.values()
    given = {p.name: p.default for p in parameters if p.default is not p.empty}
    shared = {"weight": None, "ignore_index": -100} if part in [LOSSES[name] for name in LOSSES.names] else {}
    assert given == options | shared


def test_defaults_of_every_part_are_written_out():
    for (_, registry), entries in DEFAULTS.items():
        assert set(entries) == set(registry.names)
    assert set(AUGMENTATION) == set(AUGMENTATIONS.names)


@pytest.mark.parametrize("name", AUGMENTATION)
def test_attributes_of_an_augmentation(name):
    augmentation = AUGMENTATIONS[name]()
    fields = {field.name: getattr(augmentation, field.name) for field in dataclasses.fields(augmentation)}
    if name == "color_jitter":
        assert fields == {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.4}
    elif name.startswith("autoaugment_"):
        assert fields == {"policy": name.removeprefix("autoaugment_")}
    else:
        assert fields == AUGMENTATION[name]


def test_an_augmentation_without_arguments_is_weak():
    assert Standard() == AUGMENTATIONS["crop"]()
    assert RandomAffine() == AUGMENTATIONS["random_affine"]()


@pytest.mark.parametrize("config", SETTINGS, ids=lambda config: config.__name__)
def test_defaults_of_settings(config):
    expected = {name: value[0] if isinstance(value, tuple) else value for name, value in SETTINGS[config].items()}
    assert {field.name: getattr(config(), field.name) for field in dataclasses.fields(config)} == expected


@pytest.mark.parametrize(("config", "name", "default", "low", "high"), RANGES)
def test_a_setting_takes_its_bounds_and_nothing_beyond(config, name, default, low, high):
    beyond = 1 if settings_of(config)[name].kind is int else low / 2 or 1e-6
    for value in (low, high):
        assert getattr(config(**{name: type(default or 1.0)(value)}), name) == value
    for value in (low - beyond, high + 1 if beyond == 1 else high * (1 + 1e-9)):
        with pytest.raises(InputError, match=name):
            config(**{name: value})


@pytest.mark.parametrize(("criterion", "strength"), STRENGTH.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_factor_of_a_loss_that_is_added_to_cross_entropy(criterion, strength):
    assert criterion().strength == strength


def test_the_documentation_says_what_algorithms_declare():
    page = (Path(__file__).parent.parent / "docs" / "algorithms.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d[^|]*\| (?:yes|no) \| \w+) \|", page, re.MULTILINE))
    for name in ALGORITHMS.names:
        algorithm = ALGORITHMS[name]
        domains = f"{algorithm.domains_at_least}{', and the new place' if algorithm.uses_target else ''}"
        frozen = "yes" if algorithm.needs == "features" else "no"
        assert rows[name] == f"{domains} | {frozen} | {algorithm.sampling}"


def test_declarations_are_of_the_documented_kind():
    for kind in (Algorithm, *(ALGORITHMS[name] for name in ALGORITHMS.names)):
        assert kind.needs in ("features", "layers", "images")
        assert all(type(flag) is bool for flag in (kind.soft_targets, kind.data_parallel, kind.uses_target))


def test_algorithms_that_need_class_indices_or_one_process():
    kinds = {name: ALGORITHMS[name] for name in ALGORITHMS.names}
    with_target = {"cdan", "dann", "deep_coral", "mcc", "mcd", "mmd"}
    indices = {"masf", "cad", "cond_cad", "cdann", "sagnet", "selfreg", "adrmx"}
    assert {name for name, kind in kinds.items() if kind.soft_targets is False} == indices | with_target
    alone = {"epi_fcr", "groupdro", "l2a_ot", "masf", "metareg", "mldg", "mmld", "and_mask", "sand_mask", "fish"}
    alone |= {"fishr", "eqrm", "iga", "rdm", "lp_ft", "sam", "sagm", "arm", "mtl", "transfer", "trm"}
    assert {name for name, kind in kinds.items() if kind.data_parallel is False} == alone
    assert {name for name, kind in kinds.items() if kind.uses_target is True} == with_target


def test_augmentations_that_take_bytes():
    takes = {name for name in AUGMENTATIONS.names if getattr(AUGMENTATIONS[name](), "takes_bytes", None) is True}
    floats = {"augmix", "crop", "crop_flip", "crop_flip_jitter", "mixup", "random_affine", "random_conv"}
    assert takes == set(AUGMENTATIONS.names) - floats


def test_what_was_sampled_or_set_cannot_change_afterwards():
    names = {f"afield.{folder}" for folder in ("augment", "algorithms", "losses", "heads", "data.splits", "evaluation")}
    modules = [module for name, module in sys.modules.items() if name.startswith(tuple(names))]
    found = {value for module in modules for value in vars(module).values() if dataclasses.is_dataclass(value)}
    kinds = {kind.__name__: kind.__dataclass_params__.frozen for kind in found if isinstance(kind, type)}
    assert {name for name, frozen in kinds.items() if not frozen} == {"LearnState"}
    assert len(kinds) > 40


OPTIONS = {
    "mixstyle": {"probability": "[0, 1]", "alpha": "(0, inf)"},
    "mmd": {"penalty": "[0, inf)"},
    "groupdro": {"rate": "[0, inf)"},
    "epi_fcr": {"features": "[0, inf)", "head": "[0, inf)", "random": "[0, inf)", "warm_up": "[0, 1]"},
    "domain_mixup": {"alpha": "(0, inf)"},
    "mldg": {"beta": "[0, inf)", "inner_rate": "[0, inf)"},
    "coral": {"penalty": "[0, inf)"},
    "deep_coral": {"penalty": "[0, inf)"},
    "irm": {"penalty": "[0, inf)", "anneal": "[0, 1]"},
    "vrex": {"penalty": "[0, inf)", "anneal": "[0, 1]"},
    "crossgrad": {"step": "[0, inf)", "share": "[0, 1]"},
    "rsc": {"features": "[0, 1)", "examples": "[0, 1)"},
    "l2a_ot": {"share": "(0, 1]", "warmup": "[0, 1]", "distance": "[0, inf)", "cycle": "[0, inf)", "keep": "[0, inf)"},
    "jigen": {"weight": "[0, inf)", "ordered": "[0, 1]"},
    "cdan": {"adversary": "[0, inf)"},
    "dann": {"adversary": "[0, inf)"},
    "mcd": {"discrepancy": "[0, inf)"},
    "mmd_aae": {"reconstruction": "[0, inf)", "mmd": "[0, inf)", "adversary": "[0, inf)"},
    "masf": {
        **{"inner_rate": "[0, inf)", "alignment": "[0, inf)", "metric": "[0, inf)", "margin": "[0, inf)"},
        **{"clip": "(0, inf)", "temperature": "(0, inf)"},
    },
    "mcc": {"confusion": "[0, inf)", "temperature": "(0, inf)"},
    "metareg": {"share": "[0, 1)", "inner_steps": "[1, inf)", "inner_rate": "[0, inf)"},
    "mmld": {"adversary": "[0, inf)", "entropy": "[0, inf)"},
    "amplitude_mix": {"strength": "[0, 1]"},
    "and_mask": {"agreement": "[0, 1]"},
    "sand_mask": {"agreement": "[0, 1)", "steepness": "(0, inf)"},
    "cad": {"penalty": "[0, inf)", "temperature": "(0, inf)"},
    "cond_cad": {"penalty": "[0, inf)", "temperature": "(0, inf)"},
    "causirl_coral": {"penalty": "[0, inf)"},
    "causirl_mmd": {"penalty": "[0, inf)"},
    "domain_dann": {"adversary": "[0, inf)"},
    "cdann": {"adversary": "[0, inf)"},
    "domain_mmd": {"penalty": "[0, inf)"},
    "efdm": {"probability": "[0, 1]", "alpha": "(0, inf)"},
    "eqrm": {"quantile": "(0, 1)", "warmup": "[0, 1]"},
    "fish": {"inner_rate": "(0, inf)"},
    "fishr": {"penalty": "[0, inf)", "anneal": "[0, 1]", "decay": "[0, 1)"},
    "ib_erm": {"penalty": "[0, inf)", "anneal": "[0, 1]"},
    "ib_irm": {"penalty": "[0, inf)", "bottleneck": "[0, inf)", "anneal": "[0, 1]"},
    "iga": {"penalty": "[0, inf)"},
    "learning_loss": {"weight": "[0, inf)", "margin": "[0, inf)", "cutoff": "[0, 1]"},
    "lp_ft": {"head": "[0, 1)"},
    "miro": {"penalty": "[0, inf)"},
    "rdm": {"penalty": "[0, inf)", "anneal": "[0, 1]"},
    "sam": {"radius": "[0, inf)"},
    "sagm": {"radius": "[0, inf)", "alpha": "[0, inf)"},
    "sagnet": {"adversary": "[0, inf)"},
    "sd": {"penalty": "[0, inf)"},
    "selfreg": {"penalty": "[0, inf)"},
    "mtl": {"decay": "[0, 1)"},
    "transfer": {"penalty": "[0, inf)", "radius": "(0, inf)", "rate": "[0, inf)"},
    "trm": {"implicit": "[0, inf)", "warmup": "[0, 1]", "rate": "[0, inf)"},
    "adrmx": {"contrast": "[0, inf)", "remix": "[0, inf)", "adversary": "[0, inf)"},
    "urm": {"adversary": "[0, inf)"},
    "ddaig": {"strength": "[0, inf)", "share": "(0, 1]"},
    "lookahead": {"every": "[1, inf)", "keep": "[0, 1)"},
    "sma": {"start": "[0, 1)"},
    "ema": {"decay": "[0, 1)"},
    "swad": {"converged": "[1, inf)", "overfitted": "[1, inf)", "tolerance": "[1, inf)", "looks": "[1, inf)"},
}
INTERVALS = [(name, option, interval) for name, options in OPTIONS.items() for option, interval in options.items()]


LOSS_OPTIONS = {
    **{"temperature": "(0, inf)", "smoothing": "[0, 1]", "gamma": "[0, inf)", "alpha": "[0, inf)", "eps": "(0, inf)"},
    **{"tau": "[0, inf)", "largest_margin": "[0, inf)", "scale": "(0, inf)"},
}
"""Intervals of the options of losses. The others are names (`sign`, `form`) and counts of images."""


@pytest.mark.parametrize("name", LOSSES.names)
def test_an_option_of_a_loss_takes_the_ends_of_its_interval_that_belong_to_it(name):
    numbers = {option for option, default in DEFAULTS["loss", LOSSES][name].items() if isinstance(default, float)}
    assert {*DEFAULTS["loss", LOSSES][name]} - numbers <= {"sign", "form", "counts"}
    logits, targets = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([0])
    for option in sorted(numbers):
        interval = LOSS_OPTIONS[option]
        high = interval[1:-1].split(", ")[1]
        wrong = [math.nan, math.inf, -1e-3, *([] if high == "inf" else [int(high) + 1e-3])]
        for value in wrong + ([] if interval[0] == "[" else [0.0]):
            with pytest.raises(InputError, match=f"{option} must"):
                LOSSES[name](logits, targets, **{option: value})
        for value in ([0.0] if interval[0] == "[" else [1e-3]) + ([] if high == "inf" else [float(high)]):
            assert LOSSES[name](logits, targets, **{option: value}).isfinite().all()


COUNTED = {
    **{"jigen": ["count"], "mmd_aae": ["hidden"], "mmld": ["clusters", "stages", "hidden"]},
    **{"dann": ["hidden"], "cdan": ["hidden"], "domain_dann": ["hidden"], "cdann": ["hidden"], "cad": ["normalized"]},
    **{"adrmx": ["hidden"], "urm": ["hidden"], "ddaig": ["width"]},
    **{"cond_cad": ["normalized"], "mixstyle": ["stages", "mix"], "efdm": ["stages", "mix"]},
    **{"arm": ["support", "width"], "transfer": ["steps"]},
}
"""Options without an interval: counts, names and switches."""


def test_every_option_of_an_algorithm_has_its_interval_written_out():
    for kind in ("algorithm", "averaging"):
        for name, defaults in next(entries for (of, _), entries in DEFAULTS.items() if of == kind).items():
            assert {*OPTIONS.get(name, ()), *COUNTED.get(name, ())} == {*defaults}, name


@pytest.mark.parametrize(("name", "count"), [("jigen", 0), ("jigen", 1001), ("jigen", 2.0), ("mmd_aae", 0)])
def test_a_count_out_of_range_is_refused(name, count):
    option = "count" if name == "jigen" else "hidden"
    with pytest.raises(ValueError, match=f"{option} must be a whole number"):
        ALGORITHMS[name](small_classifier(), [6, 6], **{option: count})


@pytest.mark.parametrize(("name", "option", "interval"), INTERVALS)
def test_an_option_takes_the_ends_of_its_interval_that_belong_to_it(name, option, interval):
    classifier = small_classifier()
    classifier.backbone = ResNet8(width=8)

    def make(value):
        if name in AVERAGINGS.names:
            return AVERAGINGS[name](ALGORITHMS["erm"](classifier, [6, 6]), **{option: value})
        return ALGORITHMS[name](classifier, [6, 6], **{option: value})

    low, high = interval[1:-1].split(", ")
    ends = [(int(low), interval[0] == "["), (math.inf if high == "inf" else int(high), interval[-1] == "]")]
    for end, belongs in ends:
        if belongs:
            make(end)
        else:
            with pytest.raises(InputError, match=rf"{option} must .*got {end}"):
                make(end)
    with pytest.raises(InputError, match=f"{option} must"):
        make(int(low) - 1e-3)
    if high != "inf":
        with pytest.raises(InputError, match=f"{option} must"):
            make(int(high) + 1e-3)
