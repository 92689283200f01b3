"""Decoding of an image file to upright RGB."""

import io
import struct
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""The suffixes of image files, in lower case. Other files in a data folder are ignored."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""The only formats that are decoded, independent of the suffix, because some Pillow decoders start programs."""

MAX_PIXELS = 178_956_970
"""Larger images are refused, because a small file can decode to more than the available memory (Pillow's limit)."""

LARGE_PIXELS = 16_000_000
"""Images with more pixels are decoded one at a time, to limit the memory of several threads."""

REDUCED = 3
"""A reduced JPEG file keeps sides of at least this multiple of the side that is needed."""

_large = threading.RLock()

_PNG = b"\x89PNG\r\n\x1a\n"


class BadImageError(ValueError):
    """A file that cannot be decoded to an image; the message gives the reason."""


def decode(content: bytes, max_pixels: int = MAX_PIXELS, side: int | None = None) -> Image.Image:
    """Decode the content of an image file to upright 8-bit RGB; see `upright_rgb`.

    Args:
        content: the bytes of the file.
        max_pixels: larger images are refused.
        side: the side in pixels to which the image will be resized. A much larger JPEG file is decoded at 1/2, 1/4 or
            1/8 of its size, which is faster: the largest reduction that divides both sides and leaves them at least
            `REDUCED` times as long as `side`. By default, all images are decoded at full size.

    Raises:
        BadImageError: if the file is empty, truncated, or not in one of `FORMATS`, or has more than `max_pixels`.
    """
    if not content:
        raise BadImageError("the file is empty")
    try:
        return upright_rgb(_opened(content), max_pixels, side)
    except BadImageError as error:
        if not (content.startswith(_PNG) and isinstance(error.__cause__, ValueError)):
            raise
    # Pillow limits text and color profiles, which are not needed.
    return upright_rgb(_opened(_without_text(content)), max_pixels)


def longer_side(content: bytes | Path) -> int:
    """The longer side of an image in pixels, from its header: of a file, or of the content of a file. 0 if unknown."""
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as image:
            return max(image.size)
    except Exception:  # Pillow raises errors of many types; `decode` reports bad files
        return 0


def decode_square(content: bytes, size: int | tuple[int, int], max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the content of an image file to a uint8 array ``[H, W, 3]`` of this size; see `decode` and `squash`.

    Raises:
        BadImageError: as `decode`.
    """
    return squash(decode(content, max_pixels, side=size if isinstance(size, int) else max(size)), size)


def upright_rgb(image: Image.Image, max_pixels: int = MAX_PIXELS, side: int | None = None) -> Image.Image:
    """Convert an image to upright 8-bit RGB.

    The EXIF orientation is applied, and transparent pixels are blended with white. Palette, gray, CMYK, 16-bit, 32-bit
    and floating-point images are converted. 16-bit values become their high byte. Floating-point values and 32-bit
    integers that exceed 16 bits are scaled from their range in the image; NaN becomes black.

    Args:
        image: an image; with `side`, one that is opened and not yet loaded.
        max_pixels: larger images are refused.
        side: as in `decode`.

    Raises:
        BadImageError: if the image is damaged or has more than `max_pixels`.
    """
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise BadImageError(f"{image.width} x {image.height} pixels, more than the allowed {max_pixels:,}")
    try:
        with _large if pixels > LARGE_PIXELS else nullcontext():
            if side is not None:
                _reduce(image, REDUCED * side)
            image.load()
            return _rgb(_upright(image), _is_signed(image))
    except MemoryError:  # a problem of the machine, not of the image
        raise
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise BadImageError(f"damaged: {error}") from error


def _reduce(image: Image.Image, shortest: int) -> None:
    """Let a JPEG file be decoded at the largest reduction that keeps both sides whole and at least this long."""
    for scale in (8, 4, 2):
        width, height = image.width // scale, image.height // scale
        if min(width, height) >= shortest and image.size == (width * scale, height * scale):
            image.draft(None, (width, height))
            return


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImageError(f"more pixels than the allowed {MAX_PIXELS:,}") from error
    except UnidentifiedImageError as error:
        raise BadImageError("not an image") from error
    except MemoryError:
        raise
    except Exception as error:
        raise BadImageError(f"damaged: {error}") from error


def _without_text(content: bytes) -> bytes:
    """Remove all chunks of a PNG that do not affect pixels; keep critical chunks, transparency and EXIF."""
    kept, start = [_PNG], len(_PNG)
    while start + 12 <= len(content):
        length, kind = struct.unpack(">I4s", content[start : start + 8])
        end = start + 12 + length
        if kind[:1].isupper() or kind in (b"tRNS", b"eXIf"):
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation. Other entries are hidden, because malformed entries would raise errors."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    info = image.info
    image.info = {key: value for key, value in info.items() if key == "transparency"}
    try:
        return ImageOps.exif_transpose(image)
    finally:
        image.info = info


def _is_signed(image: Image.Image) -> bool | None:
    """Whether the integers of a TIFF file are signed, which Pillow ignores; None for other images."""
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == 2


def _rgb(image: Image.Image, signed: bool | None) -> Image.Image:
    clear = image.info.get("transparency")
    if image.mode.startswith("I;16") or image.mode in ("I", "F") or (image.mode == "L" and signed):
        values = np.asarray(image)
        if image.mode == "I" and signed is False:
            values = values.view(np.uint32)
        elif image.mode == "L":
            values = values.view(np.int8).astype(np.int16) * 256  # as signed 16-bit integers
        gray = _eight_bits(values)
        image = Image.fromarray(np.where(values == clear, 255, gray).astype(np.uint8) if clear is not None else gray)
    elif image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:  # of a 16-bit file
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(gray: NDArray) -> NDArray[np.uint8]:
    """Convert 16-bit integers (stored in 16 or 32 bits) to their high byte; scale other values from their range."""
    if gray.dtype.kind != "f" and gray.size and gray.min() >= 0 and gray.max() <= 65535:
        return (gray >> 8).astype(np.uint8)
    values = gray.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    scaled = (values.clip(low, high) - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    scaled[np.isnan(values)], scaled[np.isposinf(values)] = 0, 255
    return scaled.round().astype(np.uint8)


def squash(image: Image.Image, size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image to a uint8 array ``[H, W, 3]``: bilinear, antialiased, without keeping the aspect ratio.

    Domain-generalization benchmarks (JiGen, DomainBed) also squash images instead of cropping them. The width is
    resized first: versions of Pillow differ in the order of the two directions, and so in pixels of tall images.

    Args:
        image: RGB image.
        size: side length of a square, or height and width, in pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if image.size != (width, height):
        image = image.resize((width, image.height), Image.Resampling.BILINEAR)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)
