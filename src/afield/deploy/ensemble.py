"""An ensemble of trained models in one folder, which every command takes as a model."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from afield.deploy.confidence import CONFIDENCE
from afield.deploy.saved_model import MEMBERS, MODEL, WEIGHTS, load, member, read_description
from afield.errors import InputError
from afield.records import write_json


def write_ensemble(models: Sequence[Path], out: Path) -> Path:
    """Copy trained models to a folder, where they predict together: with the mean of their probabilities.

    Each model keeps its temperature. Measurements of the confidence are not copied to the ensemble, because they are of
    single models.

    Args:
        models: folders of at least two models with the same classes, in the same order, and the same image size.
        out: folder to write; it must not contain a model.

    Raises:
        InputError: if a model is missing, damaged, itself an ensemble or does not fit the first one, or `out` contains
            a model.

    References:
        Arpit et al., "Ensemble of Averages: Improving Model Selection and Boosting Performance in Domain
        Generalization", NeurIPS 2022.
    """
    if len(models) < 2:
        raise InputError(f"an ensemble needs at least two models, got {len(models)}")
    if (out / MODEL).exists():
        raise InputError(f"{out} contains a model; choose another --out")
    first, *others = [read_description(folder / MODEL) for folder in models]
    for folder, other in zip(models[1:], others, strict=True):
        for what in ("class_names", "image_size", "image_width"):
            if getattr(other, what) != getattr(first, what):
                raise InputError(f"{folder} has another {what} than {models[0]}; an ensemble needs the same")
    for folder in models:
        load(folder)  # a damaged model is found before anything is written
    for number, folder in enumerate(models):
        member(out, number).mkdir(parents=True, exist_ok=True)
        for name in (MODEL, WEIGHTS, CONFIDENCE):
            if (folder / name).exists():
                shutil.copyfile(folder / name, member(out, number) / name)
    write_json(out / MODEL, {MEMBERS: len(models)})
    return out
