"""The old name of `afield.augment.learned`, for one version."""

import warnings

from afield.augment.learned import *  # noqa: F403

warnings.warn("afield.augmentors is deprecated; use afield.augment.learned", DeprecationWarning, stacklevel=2)
