"""The verbs: one dataclass each, with its options, for the command line and for Python alike. Free of torch.

``afield compare --seeds 5`` and ``afield.compare(seeds=5)`` build the same `Compare` and run it.
"""

from afield.commands.augment import AugmentLearn, AugmentShow
from afield.commands.compare import Compare
from afield.commands.model import Evaluate, Export, Predict, Train
from afield.commands.options import as_function
from afield.commands.place import Adapt, Forecast
from afield.commands.report import List, Report
from afield.commands.reproduce import Reproduce
from afield.commands.search import AugmentSearch

__all__ = [
    "Adapt",
    "AugmentLearn",
    "AugmentSearch",
    "AugmentShow",
    "Compare",
    "Evaluate",
    "Export",
    "Forecast",
    "List",
    "Predict",
    "Report",
    "Reproduce",
    "Train",
    "as_function",
]
