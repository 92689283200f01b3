"""Recipes: what is compared."""
