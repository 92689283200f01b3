"""Paper A: complement flattening. PACS, one domain left out at a time; a sweep of lambda; corruptions of CIFAR-10."""

from afield.reproduction.flattening.page import sections
from afield.reproduction.flattening.plan import studies
from afield.reproduction.paper import Paper

FLATTENING = Paper("flattening", "Complement flattening (paper A)", studies, sections)
