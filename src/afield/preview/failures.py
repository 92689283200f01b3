"""The transformations with the highest loss of a trained classifier, by class."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, nn

from afield.augment import Augmentation, RelabelingAugmentation, Visit, in_words, sample_at
from afield.comparison.analysis import thumbnail
from afield.data import ImageSet
from afield.errors import unknown_name
from afield.pixels import to_array, to_batch
from afield.records import seed_for
from afield.reporting.augmentation import Hard, HardClass

Images = NDArray[np.uint8]

IMAGES, DRAWS = 8, 8
"""Number of images per class, and of samples per image, that are tried."""
SHOWN, CLASSES = 4, 20


def hardest(
    data: ImageSet, augmentation: Augmentation, classifier: nn.Module, classes: Sequence[str], *, seed: int
) -> list[HardClass]:
    """Find the transformations with the highest loss for each class, at most one per image.

    Only images that the classifier recognizes without augmentation are used. The loss is that of the class that an
    image has after the transformation. The result has at most 20 classes, those with the hardest transformations first.

    Args:
        data: labeled images.
        augmentation: augmentation to sample from.
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``.
        classes: names of the K classes of the classifier.
        seed: seed of images and samples.

    Raises:
        InputError: if a class of the data is not a class of the classifier.
    """
    found = []
    for label, name in enumerate(data.class_names):
        if name not in classes:
            unknown_name("class of this model", name, classes)
        members = np.flatnonzero(data.labels == label)
        chosen = np.random.default_rng(seed_for("hardest", seed, name)).permutation(members)[:IMAGES]
        if len(chosen):
            found.append(_hardest_of_class(name, data.images[chosen], augmentation, classifier, classes, seed))
    return sorted(found, key=lambda each: min((hard.right_after for hard in each.draws), default=1.0))[:CLASSES]


@torch.no_grad()
def _hardest_of_class(
    name: str, pictures: Images, augmentation: Augmentation, classifier: nn.Module, classes: Sequence[str], seed: int
) -> HardClass:
    """The result of `hardest` for images ``[B, H, W, 3]`` of one class."""
    target, images = classes.index(name), to_batch(pictures)
    before = classifier(images).float().softmax(dim=1)
    known = before.argmax(dim=1) == target
    if not known.any():
        return HardClass(name, 0, ())
    pictures, images, before = pictures[known.numpy()], images[known], before[known, target]
    generator = Generator().manual_seed(seed_for("hardest draws", seed, name))
    labels = torch.full((len(images),), target)
    visits = [Visit(torch.arange(len(images)), epoch, seed, labels) for epoch in range(DRAWS)]
    params = [sample_at(augmentation, images, generator, visit) for visit in visits]
    relabel = augmentation.relabel if isinstance(augmentation, RelabelingAugmentation) else lambda labels, drawn: labels
    right = torch.stack([relabel(labels, drawn) for drawn in params])
    augmented = torch.stack([augmentation.apply(images, drawn) for drawn in params])
    log_p = torch.stack([classifier(batch).float().log_softmax(dim=1) for batch in augmented])
    least, worst = log_p.gather(2, right[:, :, None]).squeeze(2).min(dim=0)
    draws = [
        Hard(
            before=thumbnail(pictures[image]),
            after=thumbnail(to_array(augmented[worst[image], image][None])[0]),
            words=in_words(params[worst[image]], image, pictures.shape[1:3]),
            right_before=float(before[image]),
            right_after=float(least[image].exp()),
            predicted=classes[int(log_p[worst[image], image].argmax())],
        )
        for image in least.argsort()[:SHOWN].tolist()
    ]
    return HardClass(name, len(images), tuple(draws))
