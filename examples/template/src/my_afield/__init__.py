"""Parts for afield: an algorithm, a loss, a head, an augmentation, a data set and a recipe."""
