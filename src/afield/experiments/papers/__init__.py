"""The papers whose methods these are: every table and figure, by one command, with a verdict for each number."""

from afield.experiments.papers.augmentation import AUGMENTATION
from afield.experiments.papers.combined import COMBINED
from afield.experiments.papers.flattening import FLATTENING
from afield.experiments.papers.margin import MARGIN
from afield.experiments.papers.paper import Paper

PAPERS: dict[str, Paper] = {paper.name: paper for paper in (FLATTENING, AUGMENTATION, MARGIN, COMBINED)}

__all__ = ["PAPERS", "Paper"]
