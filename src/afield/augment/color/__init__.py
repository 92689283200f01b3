"""Color operations on batches."""
