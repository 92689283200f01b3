"""A server that predicts the classes of images for other programs."""
