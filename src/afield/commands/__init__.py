"""The verbs: one dataclass each, with its options, for the command line and for Python alike. Free of torch.

``afield compare --seeds 5`` and ``afield.compare(seeds=5)`` build the same `Compare` and run it.
"""

from afield.commands.augment import AugmentLearn as AugmentLearn, AugmentShow as AugmentShow
from afield.commands.compare import Compare as Compare
from afield.commands.label import Label as Label
from afield.commands.model import (
    Card as Card,
    Ensemble as Ensemble,
    Evaluate as Evaluate,
    Export as Export,
    Predict as Predict,
    Push as Push,
    Train as Train,
)
from afield.commands.options import as_function as as_function
from afield.commands.place import Adapt as Adapt, Forecast as Forecast
from afield.commands.report import List as List, Report as Report, Table as Table
from afield.commands.reproduce import Reproduce as Reproduce
from afield.commands.search import AugmentSearch as AugmentSearch
from afield.commands.serve import Serve as Serve
from afield.commands.sweep import Sweep as Sweep
