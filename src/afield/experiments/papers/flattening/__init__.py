"""Paper A: complement flattening. PACS, one domain left out at a time; a sweep of lambda; corruptions of CIFAR-10."""

from afield.experiments.papers.flattening.page import sections
from afield.experiments.papers.flattening.plan import tasks
from afield.experiments.papers.paper import Paper

FLATTENING = Paper("flattening", "Complement flattening (paper A)", tasks, sections)
