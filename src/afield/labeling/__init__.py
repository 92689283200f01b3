"""Selection of images of a new place to label, measurement with their labels, and the labeling page."""

from afield.labeling.badge import badge as badge
from afield.labeling.bald import bald as bald
from afield.labeling.clue import clue as clue
from afield.labeling.core_set import core_set as core_set
from afield.labeling.entropy import entropy as entropy
from afield.labeling.learning_loss import learning_loss as learning_loss
from afield.labeling.least_confidence import least_confidence as least_confidence
from afield.labeling.margin import margin as margin
from afield.labeling.pool import Pool as Pool
from afield.labeling.random import random as random
from afield.labeling.registry import STRATEGIES as STRATEGIES, Strategy as Strategy
from afield.labeling.select import select as select
from afield.labeling.structured import structured as structured
from afield.labeling.typiclust import typiclust as typiclust
