"""Training of the affine augmentor."""
