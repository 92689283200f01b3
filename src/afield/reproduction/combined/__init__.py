"""The papers together: flattening, an angular margin and learned augmentation, each alone, each pair, all three."""

from afield.reproduction.combined.page import sections
from afield.reproduction.combined.plan import studies
from afield.reproduction.paper import Paper

COMBINED = Paper("combined", "The three papers together", studies, sections)
