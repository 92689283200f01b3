"""The labeling page. It needs the packages of ``afield[label]``."""
