"""The page in which a new place is labeled; it needs the packages of ``afield[label]``."""
