"""Policies: operations drawn for each image."""
