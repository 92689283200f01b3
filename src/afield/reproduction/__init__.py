"""Reproduction of papers: all tables and figures with one command, and a verdict for each number."""

from afield.reproduction.augmentation.page import AUGMENTATION
from afield.reproduction.combined.page import COMBINED
from afield.reproduction.flattening.page import FLATTENING
from afield.reproduction.margin.page import MARGIN
from afield.reproduction.paper import Paper as Paper

PAPERS: dict[str, Paper] = {paper.name: paper for paper in (FLATTENING, AUGMENTATION, MARGIN, COMBINED)}
