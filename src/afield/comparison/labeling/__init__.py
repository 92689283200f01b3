"""Comparison of labeling strategies by the accuracy after few labels, with each domain in turn as the new place."""
