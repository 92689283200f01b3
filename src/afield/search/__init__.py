"""Search for augmentation policies for a data set."""
