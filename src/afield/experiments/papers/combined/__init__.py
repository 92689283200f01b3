"""The papers together: flattening, an angular margin and learned augmentation, each alone, each pair, all three."""

from afield.experiments.papers.combined.page import sections
from afield.experiments.papers.combined.plan import tasks
from afield.experiments.papers.paper import Paper

COMBINED = Paper("combined", "The three papers together", tasks, sections)
