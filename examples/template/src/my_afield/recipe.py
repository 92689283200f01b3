"""A recipe of these parts."""

from afield import Recipe

BRIER_DISTANCE = Recipe("brier_distance", head="distance", losses={"cross_entropy": 1.0, "brier": 0.5})
