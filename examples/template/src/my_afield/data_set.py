"""A data set that is drawn when it is loaded: shapes in three domains of another color."""

import numpy as np

from afield.data import DATASETS, ImageSet

SIZE, COUNT = 16, 30
COLORS = {"blue": (60, 90, 220), "gray": (150, 150, 150), "red": (220, 70, 60)}
CLASSES = ("disk", "ring", "square")


@DATASETS.register("colored_shapes")
def load() -> ImageSet:
    """Disks, rings and squares in three colors, 16 px; drawn when it is loaded."""
    rng = np.random.default_rng(0)
    domains, labels = (each.ravel() for each in np.indices((len(COLORS), len(CLASSES), COUNT))[:2])
    rows, columns = np.indices((SIZE, SIZE)) - SIZE / 2 + 0.5
    images = rng.integers(0, 40, (len(labels), SIZE, SIZE, 3), dtype=np.uint8)
    for image, label, color in zip(images, labels, np.array(list(COLORS.values()))[domains], strict=True):
        down, right = rng.uniform(-2, 2, 2)
        distance = np.hypot(rows - down, columns - right)
        inside = (
            distance < 5,
            (distance < 5.5) & (distance > 3),
            np.maximum(abs(rows - down), abs(columns - right)) < 4,
        )
        image[inside[label]] = color
    return ImageSet.from_domains("colored_shapes", images, labels, domains, CLASSES, tuple(COLORS))
