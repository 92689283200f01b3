"""Training in stages: train a classifier, learn an augmentation for it, and fine-tune the classifier with it.

A run with a learned augmentation has three stages, and divides its epochs between the first and the third. If the
configuration has settings for the third stage (`ExperimentConfig.tuning`), every run has a first and a third stage,
independent of its augmentation, and runs that differ only in the augmentation share the first stage.
"""

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from afield.augment import Augmentation, NetworkAugmentation, build_chain
from afield.augment.learned import AUGMENTORS
from afield.classifier import Classifier, LogitsOnly
from afield.errors import InputError
from afield.fabric import Fabric
from afield.records import Learned, exclusive, run_hash
from afield.runs.augmentation import augmentor_settings, fixed_part, learned_part
from afield.runs.build import build_algorithm
from afield.runs.callback import Callback
from afield.runs.run import Run
from afield.training import Splits, TrainConfig, fit

FIRST, SECOND = "stage1.safetensors", "stage2.safetensors"
"""Checkpoints of the stages. They are kept until the run is done, so that a resumed run skips finished stages."""


@dataclass(frozen=True)
class Stages:
    """The result of the first two stages, for the last stage.

    Attributes:
        augmentation: augmentation of the last stage.
        training: training settings of the last stage.
        augmentor: learned part of the augmentation, if there is one.
        record: record of learning it.
    """

    augmentation: Augmentation
    training: TrainConfig
    augmentor: NetworkAugmentation | None = None
    record: Learned | None = None


def run_stages(
    run: Run, classifier: Classifier, parts: Splits, folder: Path, fabric: Fabric, callback: Callback
) -> Stages:
    """Run the stages before the last one, if the run has several stages.

    Args:
        run: run with its recipe and configuration.
        classifier: initialized classifier, trained in place by the first stage.
        parts: data of the run. The augmentation is learned on the training images and measured on the other parts.
        folder: folder of this run. A first stage that several runs share is stored next to it.
        fabric: device and precision.
        callback: receives the progress.

    Raises:
        InputError: if there is more than one process, or the augmentation cannot be learned on the training images.
        HeldError: if another process is training the shared first stage.
    """
    names = "none" if run.setup.stores else run.augment
    kind, tuning = learned_part(names), run.setup.tuning
    if kind is None and tuning is None:
        return Stages(build_chain(names), run.training)
    if fabric.world_size > 1:
        raise InputError(f"augmentation {names!r} is learned in one process: --devices must be 1")
    training, class_names = run.training, run.setup.data.class_names
    if kind is not None:
        settings = augmentor_settings(run.recipe, kind)
        AUGMENTORS[kind].check(settings, parts.train, class_names)
    if tuning is None:
        first, first_names = dataclasses.replace(training, epochs=training.epochs // 2), fixed_part(names)
        last, first_folder = dataclasses.replace(training, epochs=training.epochs - first.epochs), folder
    else:
        first, first_names, last = training, training.augment, run.recipe.train_config(tuning)
        first_folder = folder.parent / f"stage1-{_shared_key(run)}"
    with nullcontext() if first_folder == folder else exclusive(first_folder):
        fit(
            build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.training_seed),
            Splits(parts.train, parts.val, {}, parts.adapt),
            first,
            build_chain(first_names),
            seed=run.training_seed,
            label=f"{run.label}, stage 1",
            checkpoint_file=first_folder / FIRST,
            fabric=fabric,
            on_epoch=callback.epoch,
        )
    if kind is None:
        return Stages(build_chain(names), last)
    learned = AUGMENTORS[kind].learn(
        LogitsOnly(classifier),
        parts.train,
        parts.watched,
        settings,
        seed=run.training_seed,
        checkpoint_file=folder / SECOND,
        fabric=fabric,
        class_names=class_names,
        on_epoch=callback.learning,
    )
    record = Learned(
        kind=kind,
        settings=dataclasses.asdict(learned.settings),
        first_epochs=first.epochs,
        epochs=tuple(learned.epochs),
        collapses=learned.collapses,
        search_s=round(learned.seconds, 3),
    )
    return Stages(build_chain(names, {kind: learned.augmentor}), last, learned.augmentor, record)


def _shared_key(run: Run) -> str:
    """The hash of all settings that determine the first stage: the configuration without those of later stages."""
    config = run.config
    later = ("name", "augment", "augment_options")
    recipe = {name: value for name, value in config["recipe"].items() if name not in later}
    return run_hash({**config, "tuning": None, "recipe": recipe})
