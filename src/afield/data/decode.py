"""One image file to upright RGB."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""The file types that are read, in lower case. Other files in a data folder are passed over."""

MAX_PIXELS = 178_956_970
"""Larger images are refused: a small file can unpack to more memory than there is (Pillow's own limit)."""


_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts an image of this EXIF orientation upright."""


class BadImageError(ValueError):
    """A file that does not decode to an image; the message says why."""


def decode(content: bytes) -> Image.Image:
    """The bytes of an image file as upright 8-bit RGB.

    EXIF orientation is applied; transparency is laid over white; palette, gray, CMYK, 16-bit and floating-point
    images are converted (16 bits by their high byte, floating point by its range in the image).

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
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        return _rgb(image if turn is None else image.transpose(turn))
    except BadImageError:
        raise
    except Image.DecompressionBombError as error:
        raise BadImageError(f"more pixels than the allowed {MAX_PIXELS:,}") from error
    except UnidentifiedImageError as error:
        raise BadImageError("not an image") from error
    except Exception as error:  # on damaged files the decoders raise almost anything
        raise BadImageError(f"damaged: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(gray: NDArray) -> NDArray[np.uint8]:
    """16-bit integers (also those Pillow holds in 32) by their high byte; floats from their range."""
    if gray.dtype.kind == "f":
        low, high = float(gray.min()), float(gray.max())
        return ((gray - low) * (255 / (high - low) if high > low else 0)).round().astype(np.uint8)
    return (gray.clip(0, 65535).astype(np.uint32) >> 8).astype(np.uint8)


def squash(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """An image as a square uint8 array ``[size, size, 3]``, bilinear with antialiasing, aspect not kept.

    Squashing, rather than cropping, is what the domain-generalization protocols do (JiGen, DomainBed).
    """
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
