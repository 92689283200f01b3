"""Migration of records and summaries of version 1, which had no separate schema for reproductions."""

from collections.abc import Mapping
from typing import Any

from afield.errors import InputError
from afield.records.types import SCHEMA

RENAMED = {"recognis": "recogniz", "regularis": "regulariz", "subcentre_arcface": "subcenter_arcface"}
"""Replacements of words in keys and names of version 1."""

DETAILS = ("class_count", "classes", "wrong_classes", "plane", "pairs", "diverged")
"""Fields of records of version 1 that were specific to a study."""


def migrate(value: dict[str, Any]) -> dict[str, Any]:
    """Convert a record or summary of any version to the current schema. Missing fields are not checked here.

    Raises:
        InputError: if the version is unknown.
    """
    version = value.get("schema", 1)
    if version == SCHEMA:
        return value
    if version != 1:
        raise InputError(f"has schema {version!r}; this version of afield reads schemas 1 to {SCHEMA}")
    old = {**renamed(value), "schema": SCHEMA}
    return _summary(old) if isinstance(old.get("recipes"), dict) else _record(old)


def renamed(value: Any) -> Any:
    """Replace the words of version 1 in the keys and texts of JSON."""
    if isinstance(value, dict):
        return {renamed(key): renamed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [renamed(each) for each in value]
    if isinstance(value, str):
        for word, now in RENAMED.items():
            value = value.replace(word, now)
    return value


def stored_views(backbone: Mapping[str, Any]) -> int:
    """The number of stored views of each image, from the settings of the backbone in a record or model.

    In early ones, it is a setting of the partial training.
    """
    return backbone.get("views") or backbone.get("partial", {}).get("views", 1)


def _summary(old: dict[str, Any]) -> dict[str, Any]:
    """Convert a summary. In version 1, differences had neither ``n`` nor ``sd``."""

    def row(recipe: dict[str, Any]) -> dict[str, Any]:
        difference = recipe["vs_erm"]
        return {**recipe, "vs_erm": difference and {**difference, "n": recipe["average"]["n"], "sd": None}}

    return {**old, "recipes": {name: row(recipe) for name, recipe in old["recipes"].items()}}


def _record(old: dict[str, Any]) -> dict[str, Any]:
    """Convert a record of a comparison, of a reproduction, or of the study of learned augmentations."""
    config = old.get("config", {})
    options = config.get("recipe", {}).get("head_options", {})
    if "centres" in options:
        options["centers"] = options.pop("centres")
    if details := {name: old.pop(name) for name in DETAILS if name in old}:
        old["details"] = details
    if "study" in old and isinstance(old.get("test"), dict):  # a diverged run has no calibration error
        old["test"] = {
            part: {name: value for name, value in figures.items() if value is not None}
            for part, figures in old["test"].items()
        }
    if "validation_accuracy" in old:
        _arm(old, config)
    elif "epochs" not in old and "validation" in old:
        epoch = {name: old.pop(name, None) for name in ("train_loss", "validation")}
        old["epochs"] = [{**epoch, "test": old.get("test")}]
        if "learned" in old:
            chain, recipe = config["recipe"]["augment"].split("+"), config["recipe"]
            old["learned"] |= {
                "kind": next(name for name in chain if name in ("learned", "dagan")),
                "settings": recipe["augment_options"],
                "first_epochs": config["training"]["epochs"] // 2,
                "epochs": [],
            }
    elif "test" in old:
        old["test"] = {old["held_out"][0]: old["test"]}
    return old


def _arm(old: dict[str, Any], config: dict[str, Any]) -> None:
    """Convert a record of the study of learned augmentations, in place. It had no names of collapses."""
    search_s, settings, measures = (old.pop(name, None) for name in ("search_cpu_s", "settings", "measures"))
    if "epochs" in old:
        old["learned"] = {
            "kind": "learned",
            "settings": settings,
            "first_epochs": config["training"]["epochs"],
            "epochs": old["epochs"],
            "collapses": {},
            "search_s": search_s,
        }
    elif measures is not None:
        old["details"] = {**old.get("details", {}), "settings": settings, "measures": measures}
    images = old["images"]
    old["images"] = {("test/test" if name == "test" else name): count for name, count in images.items()}
    old["held_out"] = ["test"]
    epoch = {"train_loss": None, "validation": {"accuracy": old.pop("validation_accuracy")}}
    old["epochs"] = [{**epoch, "test": old.get("test")}]
