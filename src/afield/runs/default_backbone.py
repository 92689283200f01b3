"""The backbone that is used if the user chooses none."""

from afield.data import ImageSet
from afield.data.catalog import TINY_IMAGE_SIZE
from afield.models import BackboneConfig
from afield.models.backbone import Stem
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE

FROM_SCRATCH = "resnet8_ibn"

ON_IMAGES = {
    "--freeze": f"to train on images, add --backbone {PACKAGE_BACKBONE} --weights {PACKAGE}, or --backbone "
    f"{FROM_SCRATCH} from scratch, without --freeze",
    "--train-from": "to train on images, omit it",
}
"""Advice for a recipe or setting that stored features do not support, by the option that stores them."""


def default_backbone(data: ImageSet, stem: Stem) -> tuple[BackboneConfig, bool, str]:
    """The backbone, whether it is frozen, and why, for the user.

    Tiny images are trained from scratch, and photographs on features of a pretrained backbone.
    """
    if max(data.images.shape[1:3]) <= TINY_IMAGE_SIZE:
        why = f"from scratch: the images have at most {TINY_IMAGE_SIZE} pixels"
        return BackboneConfig(FROM_SCRATCH, stem), False, why
    why = f"frozen: the default for photographs (--backbone {FROM_SCRATCH} trains from scratch)"
    return BackboneConfig(PACKAGE_BACKBONE, stem, PACKAGE), True, why
