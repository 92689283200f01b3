"""Paper C: angular-margin heads on ordinary classes. CIFAR-10 and CIFAR-100, three networks, margins from 0 to 2.5."""

from afield.reproduction.margin.page import sections
from afield.reproduction.margin.plan import studies
from afield.reproduction.paper import Paper

MARGIN = Paper("margin", "Angular-margin heads on ordinary classes (paper C)", studies, sections)
