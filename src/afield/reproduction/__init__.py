"""The papers whose methods these are: every table and figure, by one command, with a verdict for each number."""

from afield.reproduction.augmentation import AUGMENTATION
from afield.reproduction.combined import COMBINED
from afield.reproduction.flattening import FLATTENING
from afield.reproduction.margin import MARGIN
from afield.reproduction.paper import Paper as Paper

PAPERS: dict[str, Paper] = {paper.name: paper for paper in (FLATTENING, AUGMENTATION, MARGIN, COMBINED)}
