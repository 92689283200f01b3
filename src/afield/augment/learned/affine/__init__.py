"""Learn the affine augmentor."""
