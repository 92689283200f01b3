"""Creation of the objective, the classifier and the algorithm of a recipe."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from afield.adaptation import build_adaptation
from afield.algorithms import ALGORITHMS, AVERAGINGS, Algorithm
from afield.algorithms.parts.domain_norm import DomainFeatureNorm, name_domains
from afield.augment import Augmentation, MixingAugmentation, chain_parts
from afield.classifier import Classifier
from afield.errors import InputError, first_line, unknown_name
from afield.heads import HEADS, Neck
from afield.losses import LOSSES
from afield.models import build_backbone, divide
from afield.objective import Objective
from afield.recipes import Recipe
from afield.records import seed_for
from afield.runs.adapting import standardizes
from afield.runs.classes import class_weights
from afield.runs.config import ExperimentConfig, choose_memory
from afield.runs.default_backbone import ON_IMAGES


def build_objective(recipe: Recipe, features: int, classes: int) -> Objective:
    """Create the head and the losses of a recipe, and test them on two examples, except on the meta device.

    Args:
        recipe: recipe with head and losses.
        features: D, number of features.
        classes: K, number of classes.

    Raises:
        InputError: if a name or an option is unknown or not valid.
    """
    head = HEADS[recipe.head]
    check_options(recipe, f"option of head {recipe.head}", head, recipe.head_options)
    for name in (*recipe.losses, *recipe.linear_losses):
        check_options(recipe, f"option of loss {name}", LOSSES[name], recipe.loss_options.get(name, {}))
    try:
        objective = Objective(
            head(features, classes, **recipe.head_options),
            recipe.losses,
            recipe.loss_options,
            linear_losses=recipe.linear_losses,
            neck=Neck(features) if recipe.neck else None,
        ).eval()
        examples = torch.zeros(2, features)
        if not examples.is_meta:
            with torch.no_grad():
                objective(examples, torch.tensor([0, 1]))
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"recipe {recipe.name!r}: {first_line(error)}") from None
    return objective.train()


def check_options(recipe: Recipe, kind: str, takes: Callable[..., object], options: Mapping[str, object]) -> None:
    """Raise `InputError` if an option is not a keyword-only argument of the class or function."""
    parameters = inspect.signature(takes).parameters.values()
    allowed = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in allowed:
            unknown_name(f"{kind} in recipe {recipe.name}:", option, allowed)


def build_classifier(setup: ExperimentConfig, recipe: Recipe, seed: int) -> Classifier:
    """Create backbone and objective, initialized from the seed. The backbone is equal for all recipes.

    If only the last stages train, they are the backbone, and its inputs are activations.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("init", seed))
        backbone, features = build_backbone(setup.backbone)
        torch.manual_seed(seed_for("init head", seed))
        objective = build_objective(recipe, features, len(setup.data.class_names))
    mean, std = setup.backbone.normalization
    if setup.partial is not None:
        _, backbone = divide(backbone, setup.partial.stage, setup.data.images.shape[1:3])
        mean, std = (0.0,), (1.0,)
    norm = DomainFeatureNorm(features) if standardizes(recipe) else None
    training = recipe.train_config(setup.training)
    return Classifier(
        backbone,
        objective,
        mean=mean,
        std=std,
        dropout=training.dropout,
        feature_norm=norm,
        fixed_batch_norm=training.batch_norm == "fixed",
    )


def build_head_classifier(setup: ExperimentConfig, recipe: Recipe, seed: int, features: int) -> Classifier:
    """Create a classifier of extracted features, to train on a frozen backbone. The objective is the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("init head", seed))
        objective = build_objective(recipe, features, len(setup.data.class_names))
    mean, std = setup.backbone.normalization
    return Classifier(nn.Identity(), objective, mean=mean, std=std, dropout=recipe.train_config(setup.training).dropout)


def check_adaptation(setup: ExperimentConfig, recipe: Recipe) -> None:
    """Check that what the recipe adapts by fits the experiment.

    Raises:
        InputError: unknown names or options, or features where an adaptation needs the network.
    """
    chain = build_adaptation(recipe.adaptation, recipe.adaptation_options)
    for name, part in zip(recipe.adaptation, chain.parts, strict=True):
        if setup.stores and part.needs == "images":
            raise InputError(
                f"recipe {recipe.name!r}: adaptation {name} changes the backbone; {setup.stores} provides extracted "
                f"features only; {ON_IMAGES[setup.stores]}"
            )


def check_unlabeled(setup: ExperimentConfig, recipe: Recipe) -> None:
    """Check that there are images to adapt to, for a recipe that adapts.

    Raises:
        InputError: there are none.
    """
    if setup.unlabeled is None:
        raise InputError(
            f"recipe {recipe.name!r} adapts to unlabeled images of the unseen domain; `afield compare` gives it a "
            "fraction of them with --adapt-fraction, such as --adapt-fraction 0.5"
        )


def build_algorithm(recipe: Recipe, classifier: Classifier, domain_sizes: Sequence[int], seed: int) -> Algorithm:
    """Create the algorithm of a recipe, wrapped in its averaging if there is one, initialized from the seed.

    Raises:
        InputError: if a name or an option is unknown or not valid, or the algorithm does not support the backbone.
    """
    kind = ALGORITHMS[recipe.algorithm]
    check_options(recipe, f"option of algorithm {recipe.algorithm}", kind, recipe.algorithm_options)
    if recipe.averaging is None and recipe.averaging_options:
        raise InputError(f"recipe {recipe.name!r} has averaging_options, but no averaging")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("init algorithm", seed))
            algorithm = kind(classifier, domain_sizes, **recipe.algorithm_options)
        if isinstance(classifier.feature_norm, DomainFeatureNorm):
            name_domains(algorithm, classifier.feature_norm)
        if recipe.averaging is None:
            return algorithm
        averaging = AVERAGINGS[recipe.averaging]
        check_options(recipe, f"option of averaging {recipe.averaging}", averaging, recipe.averaging_options)
        return averaging(algorithm, **recipe.averaging_options)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"recipe {recipe.name!r}: {error}") from None


def check_algorithm(setup: ExperimentConfig, recipe: Recipe, domains: int) -> None:
    """Check that the recipe's algorithm and training settings fit the experiment.

    Args:
        setup: configuration of the experiment.
        recipe: recipe to check.
        domains: number of training domains.

    Raises:
        InputError: if there are too few domains, batches are too small or too large, settings contradict each other, or
            the backbone is frozen and the algorithm needs images, or it needs unlabeled images and there are none, or
            class weights name an unknown class, or the algorithm does not support the precision.
    """
    kind = ALGORITHMS[recipe.algorithm]
    if domains < kind.domains_at_least:
        raise InputError(
            f"recipe {recipe.name!r}: algorithm {recipe.algorithm} needs {kind.domains_at_least} or more training "
            f"domains, got {domains}"
        )
    if kind.uses_target:
        check_unlabeled(setup, recipe)
    if setup.freeze and kind.needs != "features":
        last = "; to train the last stages only, add --train-from STAGE, without --freeze"
        raise InputError(
            f"recipe {recipe.name!r}: algorithm {recipe.algorithm} needs images or feature maps; a frozen backbone "
            f"provides extracted features only; {ON_IMAGES[setup.stores]}{last if kind.needs == 'layers' else ''}"
        )
    if setup.partial is not None and kind.needs == "images":
        raise InputError(
            f"recipe {recipe.name!r}: algorithm {recipe.algorithm} needs images; --train-from provides the activations "
            "before a stage only"
        )
    training = recipe.train_config(setup.training)
    if training.precision == "16-mixed" and kind.update is not Algorithm.update:
        raise InputError(
            f"recipe {recipe.name!r}: algorithm {recipe.algorithm} computes with gradients, which --precision 16-mixed "
            "scales; use bf16"
        )
    choose_memory(setup.data, training.batch_size, setup.memory)
    class_weights(training, torch.ones(len(setup.data.class_names)), setup.data.class_names)
    sampling = kind.sampling if training.sampling == "auto" else training.sampling
    if sampling == "balanced" and training.batch_size < domains:
        raise InputError(f"recipe {recipe.name!r}: balanced batches of {domains} domains need --batch-size {domains}")


def check_targets(recipe: Recipe, objective: Objective, augmentation: Augmentation) -> None:
    """Test the objective with the targets that the augmentation creates.

    Raises:
        InputError: if the augmentation mixes images and the algorithm, the head or a loss does not support soft
            targets.
    """
    if not isinstance(augmentation, MixingAugmentation):
        return
    if not ALGORITHMS[recipe.algorithm].soft_targets:
        raise InputError(
            f"recipe {recipe.name!r} cannot use mixup or cutmix: algorithm {recipe.algorithm} needs class indices"
        )
    features, classes = objective.head.in_features, objective.head.num_classes
    mixing = [part for part in chain_parts(augmentation) if isinstance(part, MixingAugmentation)]
    mixed = min(classes, 2 ** len(mixing))
    targets = torch.zeros(2, classes)
    targets[:, :mixed] = 1 / mixed
    try:
        with torch.no_grad():
            copy.deepcopy(objective)(torch.zeros(2, features), targets)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"recipe {recipe.name!r} cannot use mixup or cutmix: {first_line(error)}") from None
