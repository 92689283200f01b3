"""afield: image classifiers that hold up far afield.

Verbs, with the options of the command line: `compare`, `sweep`, `train`, `evaluate`, `predict`, `ensemble`, `export`,
`serve`, `card`, `push`, `adapt`, `forecast`, `label`, `report`, `table`, `reproduce`, `augment_search`,
`augment_learn`, `augment_show`; and `load` for a trained model. Parts for anyone's own loop: `afield.adaptation`,
`afield.augment`, `afield.losses`, `afield.heads`, `afield.labeling`, `afield.Objective`.

Whatever needs torch is imported when it is first used, so that ``import afield`` and ``afield --help`` are quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

from afield.commands import (
    Adapt,
    AugmentLearn,
    AugmentSearch,
    AugmentShow,
    Card,
    Compare,
    Ensemble,
    Evaluate,
    Export,
    Forecast,
    Label,
    Predict,
    Push,
    Report,
    Reproduce,
    Serve,
    Sweep,
    Table,
    Train,
    as_function,
)
from afield.errors import InputError

if TYPE_CHECKING:
    from afield import adaptation, augment, data, heads, labeling, losses, models
    from afield.deploy import Model, Prediction, load
    from afield.objective import Objective
    from afield.recipes import Recipe

__version__ = "0.1.0"

compare = as_function(Compare)
sweep = as_function(Sweep)
train = as_function(Train)
augment_search = as_function(AugmentSearch)
evaluate = as_function(Evaluate)
predict = as_function(Predict)
ensemble = as_function(Ensemble)
export = as_function(Export)
serve = as_function(Serve)
card = as_function(Card)
push = as_function(Push)
adapt = as_function(Adapt)
forecast = as_function(Forecast)
label = as_function(Label)
report = as_function(Report)
table = as_function(Table)
reproduce = as_function(Reproduce)
augment_learn = as_function(AugmentLearn)
augment_show = as_function(AugmentShow)

__all__ = [
    "InputError",
    "Model",
    "Objective",
    "Prediction",
    "Recipe",
    "adapt",
    "adaptation",
    "augment",
    "augment_learn",
    "augment_search",
    "augment_show",
    "card",
    "compare",
    "data",
    "ensemble",
    "evaluate",
    "export",
    "forecast",
    "heads",
    "label",
    "labeling",
    "load",
    "losses",
    "models",
    "predict",
    "push",
    "report",
    "reproduce",
    "serve",
    "sweep",
    "table",
    "train",
]

_HOMES = {
    "Model": "afield.deploy",
    "Objective": "afield.objective",
    "Prediction": "afield.deploy",
    "Recipe": "afield.recipes",
    "load": "afield.deploy",
}


def __getattr__(name: str) -> Any:
    """Import a part when it is first asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"afield.{name}")
    raise AttributeError(f"module 'afield' has no attribute {name!r}")
