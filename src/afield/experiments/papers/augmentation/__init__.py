"""Paper B: learned augmentation, seen as active learning. CIFAR-10; the sign of the loss, and collapses."""

from afield.experiments.papers.augmentation.page import sections
from afield.experiments.papers.augmentation.plan import tasks
from afield.experiments.papers.paper import Paper

AUGMENTATION = Paper("augmentation", "Learned augmentation, seen as active learning (paper B)", tasks, sections)
