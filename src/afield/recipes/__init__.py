"""Recipes: the training methods to compare."""

from afield.recipes.composition import compose as compose
from afield.recipes.library import RECIPES as RECIPES
from afield.recipes.recipe import Recipe as Recipe
from afield.recipes.resolve import (
    read_recipe as read_recipe,
    recipe_from as recipe_from,
    replace_setting as replace_setting,
    resolve as resolve,
)
