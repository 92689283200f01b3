"""Decode one image file to upright RGB."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""The suffixes of image files, in lower case. Other files in a data folder are ignored."""

MAX_PIXELS = 178_956_970
"""Larger images are refused, since a small file can decode to more memory than the machine has (Pillow's limit)."""


class BadImageError(ValueError):
    """A file that cannot be decoded to an image; the message gives the reason."""


def decode(content: bytes) -> Image.Image:
    """The bytes of an image file as upright 8-bit RGB.

    The EXIF orientation is applied, and transparent pixels are blended with white. Palette, gray, CMYK, 16-bit and
    floating-point images are converted: 16-bit values to their high byte, floating-point values from their range in
    the image.

    Raises:
        BadImageError: empty, truncated, not an image, or more than `MAX_PIXELS`.
    """
    if not content:
        raise BadImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(content))
        if image.width * image.height > MAX_PIXELS:
            raise BadImageError(f"{image.width} x {image.height} pixels, more than the allowed {MAX_PIXELS:,}")
        image.load()
        return _rgb(_upright(image))
    except BadImageError:
        raise
    except Image.DecompressionBombError as error:
        raise BadImageError(f"more pixels than the allowed {MAX_PIXELS:,}") from error
    except UnidentifiedImageError as error:
        raise BadImageError("not an image") from error
    except Exception as error:  # the decoders raise errors of many types for damaged files
        raise BadImageError(f"damaged: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation, in place. Other entries are dropped: `exif_transpose` fails if one is malformed."""
    image.getexif()  # read now and kept by Pillow
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(gray: NDArray) -> NDArray[np.uint8]:
    """16-bit integers (which Pillow may hold in 32 bits) to their high byte; floats from their range."""
    if gray.dtype.kind == "f":
        low, high = float(gray.min()), float(gray.max())
        return ((gray - low) * (255 / (high - low) if high > low else 0)).round().astype(np.uint8)
    return (gray.clip(0, 65535).astype(np.uint32) >> 8).astype(np.uint8)


def squash(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """An image as a square uint8 array ``[size, size, 3]``: bilinear, antialiased, without keeping the aspect ratio.

    Squashing, rather than cropping, is what the domain-generalization protocols do (JiGen, DomainBed).
    """
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
