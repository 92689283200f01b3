"""The verbs: one dataclass each, with its options, for the command line and for Python alike. Free of torch.

``afield compare --seeds 5`` and ``afield.compare(seeds=5)`` build the same `Compare` and run it.
"""

from afield.commands.adapt import Adapt as Adapt
from afield.commands.augment import AugmentLearn as AugmentLearn, AugmentShow as AugmentShow
from afield.commands.card import Card as Card
from afield.commands.compare import Compare as Compare
from afield.commands.ensemble import Ensemble as Ensemble
from afield.commands.evaluate import Evaluate as Evaluate
from afield.commands.export import Export as Export
from afield.commands.forecast import Forecast as Forecast
from afield.commands.label import Label as Label
from afield.commands.list import List as List
from afield.commands.options import as_function as as_function
from afield.commands.predict import Predict as Predict
from afield.commands.push import Push as Push
from afield.commands.report import Report as Report
from afield.commands.reproduce import Reproduce as Reproduce
from afield.commands.search import AugmentSearch as AugmentSearch
from afield.commands.serve import Serve as Serve
from afield.commands.sweep import Sweep as Sweep
from afield.commands.table import Table as Table
from afield.commands.train import Train as Train
