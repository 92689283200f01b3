"""Training of a CycleGAN from a common class to rare classes."""
