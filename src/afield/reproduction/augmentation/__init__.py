"""Paper B: learned augmentation, seen as active learning. CIFAR-10; the sign of the loss, and collapses."""

from afield.reproduction.augmentation.page import sections
from afield.reproduction.augmentation.plan import studies
from afield.reproduction.paper import Paper

AUGMENTATION = Paper("augmentation", "Learned augmentation, seen as active learning (paper B)", studies, sections)
