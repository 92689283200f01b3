"""Spatial transformations of batches."""
