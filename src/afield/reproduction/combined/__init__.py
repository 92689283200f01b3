"""All combinations of the papers' methods: flattening, an angular margin and learned augmentation."""
