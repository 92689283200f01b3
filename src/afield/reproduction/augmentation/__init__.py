"""Paper B, "Learned augmentation, seen as active learning": CIFAR-10, the sign of the loss, and collapses."""
