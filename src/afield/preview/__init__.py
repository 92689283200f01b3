"""Previews of augmentations: augmented images and statistics of the transformations."""
