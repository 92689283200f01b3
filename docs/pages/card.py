"""The model card of a PACS model, from its records and those of a comparison."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import afield
from pages.tables import ROOT

MODEL = ROOT / "results" / "pacs-flattening"


def model_card() -> str:
    """What `afield card` writes to the model folder."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(MODEL, Path(folder) / MODEL.name)
        return afield.card(copy, comparison=copy / "comparison").read_text(encoding="utf-8")
