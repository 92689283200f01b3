"""The built-in recipes, each with a summary and a reference."""

from collections.abc import Mapping
from typing import Any

from afield.adaptation import ADAPTATIONS
from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.plugins import Plugin
from afield.recipes.recipe import Recipe
from afield.registry import Registry


class RecipeRegistry(Registry[Recipe]):
    """Recipes by name. An algorithm, averaging or adaptation of an installed package is a recipe too."""

    def __init__(self) -> None:
        super().__init__("recipe", group="afield.recipes")

    def plugins(self) -> Mapping[str, Plugin]:
        """See `Registry.plugins`."""
        return {**ADAPTATIONS.plugins(), **AVERAGINGS.plugins(), **ALGORITHMS.plugins(), **super().plugins()}

    def adopt(self, plugin: Plugin) -> None:
        """Register a recipe, the recipe that a function returns, or the recipe of an algorithm.

        Raises:
            TypeError: if it is none of these.
        """
        name = plugin.name
        if name in super().plugins():
            given = plugin.load()
            recipe = given if isinstance(given, Recipe) else given()
            if not isinstance(recipe, Recipe):
                raise TypeError(f"{recipe!r} is not a Recipe")
            self.add(name, recipe, summary=f"Recipe of the package {plugin.package}.")
            return
        kinds: dict[str, Registry[Any]] = {"algorithm": ALGORITHMS, "averaging": AVERAGINGS, "adaptation": ADAPTATIONS}
        field = next(field for field, registry in kinds.items() if name in registry.plugins())
        value: Any = (name,) if field == "adaptation" else name
        entry = kinds[field].entry(name)
        self.add(name, Recipe(name, **{field: value}), summary=entry.summary, reference=entry.reference)


RECIPES = RecipeRegistry()

_FLATTENING = {"cross_entropy": 1.0, "complement_flattening": 0.5}
_FLATTENING_SPACE = {"losses.complement_flattening": "log_uniform(0.1, 2)"}
_SMOOTHING = {"label_smoothing": 1.0}
_MENON = "Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021."

_LIBRARY = (
    (
        Recipe("erm"),
        "Minimizes cross-entropy with a linear head on all domains together (DeepAll).",
        "Vapnik, Statistical Learning Theory, 1998.",
    ),
    (
        Recipe("label_smoothing", losses=_SMOOTHING),
        "Cross-entropy with 10 % of the target probability spread over all classes.",
        "Szegedy et al., Rethinking the Inception Architecture, CVPR 2016.",
    ),
    (
        Recipe("flattening", losses=_FLATTENING, search=_FLATTENING_SPACE),
        "Cross-entropy + 0.5 x complement flattening: evens out the probabilities of the wrong classes.",
        "Complement flattening for domain generalization, 2020 (paper A).",
    ),
    (
        Recipe("focal", losses={"focal": 1.0}),
        "Cross-entropy that downweights well-classified examples (gamma 2).",
        "Lin et al., Focal Loss, ICCV 2017.",
    ),
    (
        Recipe(
            "confidence_penalty",
            losses={"cross_entropy": 1.0, "confidence_penalty": 0.1},
            search={"losses.confidence_penalty": "log_uniform(0.01, 1)"},
        ),
        "Cross-entropy - 0.1 x the entropy of the prediction: penalizes confident predictions.",
        "Pereyra et al., Penalizing Confident Output Distributions, 2017.",
    ),
    (
        Recipe(
            "complement_entropy",
            losses={"cross_entropy": 1.0, "complement_entropy": 1.0},
            search={"losses.complement_entropy": "log_uniform(0.1, 2)"},
        ),
        "Cross-entropy - the normalized entropy over the wrong classes.",
        "Chen et al., Complement Objective Training, ICLR 2019.",
    ),
    (
        Recipe("guided_complement_entropy", losses={"guided_complement_entropy": 1.0}),
        "Replaces cross-entropy by the entropy over the wrong classes, weighted by the target probability.",
        "Chen et al., Guided Complement Entropy, ICCV 2019.",
    ),
    (
        Recipe("normalized_softmax", head="cosine"),
        "Softmax over scaled cosines between features and class vectors.",
        "Wang et al., NormFace, ACM MM 2017.",
    ),
    (
        Recipe("arcface", head="arcface"),
        "Additive angular margin: 0.1 rad on the angle to the target class.",
        "Deng et al., ArcFace, CVPR 2019 (paper C).",
    ),
    (
        Recipe("cosface", head="cosface"),
        "Additive cosine margin: 0.1 on the cosine of the target class.",
        "Wang et al., CosFace, CVPR 2018.",
    ),
    (
        Recipe("sphereface", head="sphereface"),
        "Multiplicative angular margin: the angle to the target class times 1.2.",
        "Liu et al., SphereFace, CVPR 2017.",
    ),
    (
        Recipe("subcenter_arcface", head="subcenter_arcface"),
        "ArcFace with three vectors per class; the nearest one is used.",
        "Deng et al., Sub-center ArcFace, ECCV 2020.",
    ),
    (
        Recipe("adacos", head="adacos"),
        "Scaled cosines whose scale adapts to the angles in the batch.",
        "Zhang et al., AdaCos, CVPR 2019.",
    ),
    (
        Recipe("arcface_linear", head="arcface", linear_losses={"cross_entropy": 1.0}),
        "ArcFace + cross-entropy of a linear layer that shares its class vectors.",
        "Paper C, future work: cross-entropy and the margin together.",
    ),
    (
        Recipe("arcface_flattening", head="arcface", losses=_FLATTENING, search=_FLATTENING_SPACE),
        "ArcFace with cross-entropy + 0.5 x complement flattening.",
        "Papers A and C together.",
    ),
    (
        Recipe("color_jitter", augment="crop+color_jitter"),
        "Cross-entropy on images with random brightness, contrast, saturation and hue.",
        "Howard, Some Improvements on Deep Convolutional Neural Network Based Image Classification, 2013.",
    ),
    (
        Recipe("random_conv", augment="crop+random_conv"),
        "Cross-entropy on images with random colors and textures, by a random convolution of each image.",
        "Xu et al., Robust and Generalizable Visual Representation Learning via Random Convolutions, ICLR 2021.",
    ),
    (
        Recipe("class_weights", training={"class_weights": "balanced"}),
        "Weights each class inversely to its number of training images.",
        "King and Zeng, Logistic Regression in Rare Events Data, Political Analysis 2001.",
    ),
    (
        Recipe("effective_number", training={"class_weights": "effective"}),
        "Weights each class inversely to its effective number of training images.",
        "Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019.",
    ),
    (
        Recipe("class_balanced_sampling", training={"sampling": "class_balanced"}),
        "Draws the same number of images from each class.",
        "Kang et al., Decoupling Representation and Classifier, ICLR 2020.",
    ),
    (
        Recipe("logit_adjustment", losses={"logit_adjustment": 1.0}),
        "Adds the logarithm of the class frequencies to the logits during training.",
        _MENON,
    ),
    (
        Recipe("logit_adjustment_afterwards", training={"class_adjustment": 1.0}),
        "Subtracts the logarithm of the class frequencies from the logits at prediction.",
        _MENON,
    ),
    (
        Recipe("balanced_softmax", losses={"balanced_softmax": 1.0}),
        "Multiplies each term of the softmax by the number of training images of its class.",
        "Ren et al., Balanced Meta-Softmax, NeurIPS 2020.",
    ),
    (
        Recipe(
            "ldam_drw",
            head="cosine",
            head_options={"scale": 30.0},
            losses={"ldam": 1.0},
            training={"class_weights": "effective", "class_weights_from": 0.8},
        ),
        "Larger margins for smaller classes, and class weights in the last fifth of the training.",
        "Cao et al., Label-Distribution-Aware Margin Loss, NeurIPS 2019.",
    ),
    *((Recipe(e.name, algorithm=e.name), e.summary, e.reference) for e in ALGORITHMS if e.name != "erm"),
    *((Recipe(e.name, averaging=e.name), e.summary, e.reference) for e in AVERAGINGS),
    (
        Recipe("probe_start", start="probe"),
        "Trains the head on fixed pretrained features until the end, then the whole network from that head.",
        "Kumar et al., Fine-Tuning can Distort Pretrained Features, ICLR 2022.",
    ),
    (
        Recipe(
            "erm_plus_plus",
            algorithm="lp_ft",
            algorithm_options={"head": 0.1},
            averaging="sma",
            averaging_options={"start": 0.12},
        ),
        "Trains the head first, then the whole network, and averages the later weights (ERM++).",
        "Teterwak et al., ERM++: An Improved Baseline for Domain Generalization, WACV 2025.",
    ),
    (
        Recipe("eoa", averaging="sma", combination="ensemble"),
        "Ensemble of 6 moving averages (sma): the mean of their probabilities.",
        "Arpit et al., Ensemble of Averages, NeurIPS 2022.",
    ),
    (
        Recipe("diwa", start="probe", combination="soup"),
        "Averages the weights of 6 runs with different settings that start from the same linear probe.",
        "Rame et al., Diverse Weight Averaging, NeurIPS 2022.",
    ),
    (
        Recipe("greedy_soup", start="probe", combination="greedy_soup"),
        "Averages the weights of those runs of diwa that do not lower the validation accuracy of the average.",
        "Wortsman et al., Model Soups, ICML 2022.",
    ),
    *((Recipe(e.name, adaptation=(e.name,)), e.summary, e.reference) for e in ADAPTATIONS),
    (
        Recipe(
            "fast_cifar", losses=_SMOOTHING, loss_options={"label_smoothing": {"smoothing": 0.2}}, averaging="lookahead"
        ),
        "Label smoothing of 0.2 and Lookahead averaging, for few epochs; use the preset of the same name.",
        "Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024.",
    ),
)

for _recipe, _summary, _reference in _LIBRARY:
    RECIPES.add(_recipe.name, _recipe, summary=_summary, reference=_reference)
