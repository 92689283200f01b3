"""Augmentations that are learned on a trained classifier, and their failures."""

from afield.augment.learned.affine.game import AffineGame as AffineGame
from afield.augment.learned.affine.learn import learn_affine as learn_affine
from afield.augment.learned.affine.measures import measure as measure
from afield.augment.learned.affine.settings import AffineSettings as AffineSettings
from afield.augment.learned.dagan.critic import Critic as Critic
from afield.augment.learned.dagan.game import DaganGame as DaganGame
from afield.augment.learned.dagan.learn import learn_dagan as learn_dagan
from afield.augment.learned.dagan.measures import measure_variants as measure_variants
from afield.augment.learned.dagan.settings import DaganSettings as DaganSettings
from afield.augment.learned.discriminator import Discriminator as Discriminator
from afield.augment.learned.loop import Learned as Learned
from afield.augment.learned.registry import AUGMENTORS as AUGMENTORS, Method as Method, read_settings as read_settings
