"""The papers together: flattening, an angular margin and learned augmentation, each alone, each pair, all three."""
