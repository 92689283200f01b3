"""The base class of combinations: how many members there are, and how their settings differ."""

from collections.abc import Mapping
from typing import Any

from afield.registry import Registry
from afield.settings import TrainConfig
from afield.validation import check_number

MOST_MEMBERS = 100


class Combination:
    """Base class of what joins several runs, the members, into one model.

    All members have the same training and validation images. Member 0 has the settings and the random choices of a
    single run with the same seed. The others have random choices of their own.

    Args:
        members: number of members.

    Raises:
        InputError: if the number is not between 2 and 100.
    """

    def __init__(self, *, members: int = 6) -> None:
        check_number("members", members, 2, MOST_MEMBERS, whole=True)
        self.members = members

    def settings(self, training: TrainConfig, seed: int, number: int) -> Mapping[str, Any]:
        """The training settings in which a member differs from the recipe, by name.

        Args:
            training: settings of the recipe.
            seed: seed of the combined run.
            number: number of the member, from 0.
        """
        return {}


COMBINATIONS: Registry[type[Combination]] = Registry("combination")
