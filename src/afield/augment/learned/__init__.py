"""Training of learned augmentations against a trained classifier, and diagnosis of their failures."""

from afield.augment.learned.affine.game import AffineGame as AffineGame
from afield.augment.learned.affine.settings import AffineSettings as AffineSettings
from afield.augment.learned.cyclegan.game import CycleGanGame as CycleGanGame
from afield.augment.learned.cyclegan.settings import CycleGanSettings as CycleGanSettings
from afield.augment.learned.dagan.critic import Critic as Critic
from afield.augment.learned.dagan.game import DaganGame as DaganGame
from afield.augment.learned.dagan.settings import DaganSettings as DaganSettings
from afield.augment.learned.discriminator import Discriminator as Discriminator
from afield.augment.learned.loop import AUGMENTORS as AUGMENTORS, Learned as Learned
from afield.validation import read_settings as read_settings

learn_affine = AffineGame.learn
learn_cyclegan = CycleGanGame.learn
learn_dagan = DaganGame.learn
measure = AffineGame.measure
measure_translations = CycleGanGame.measure
measure_variants = DaganGame.measure
