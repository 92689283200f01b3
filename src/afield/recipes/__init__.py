"""Recipes: what is compared."""

from afield.recipes.composition import compose
from afield.recipes.library import RECIPES
from afield.recipes.recipe import Recipe
from afield.recipes.resolve import read_recipe, recipe_from, resolve

__all__ = ["RECIPES", "Recipe", "compose", "read_recipe", "recipe_from", "resolve"]
