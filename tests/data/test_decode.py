"""Real image files of every kind, written by Pillow or byte by byte, to upright RGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sklearn import datasets

from afield.data.decode import (
    MAX_PIXELS,
    REDUCED,
    SUFFIXES,
    BadImageError,
    decode,
    decode_square,
    longer_side,
    squash,
    upright_rgb,
)

RED, GREEN, BLUE, YELLOW = (220, 30, 20), (20, 180, 60), (30, 40, 200), (230, 220, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Top left, top right, bottom left, bottom right."""

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def quadrants(corners, width=48, height=32):
    """Pixels ``[height, width, C]`` of four colors, or ``[height, width]`` of four numbers."""
    top_left, top_right, bottom_left, bottom_right = np.array(corners)
    found = np.empty((height, width, *np.shape(top_left)), dtype=np.array(corners).dtype)
    found[: height // 2, : width // 2], found[: height // 2, width // 2 :] = top_left, top_right
    found[height // 2 :, : width // 2], found[height // 2 :, width // 2 :] = bottom_left, bottom_right
    return found


def picture(corners=CORNERS, dtype=np.uint8):
    return Image.fromarray(quadrants(corners).astype(dtype))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_shows(content, corners, tolerance=0, size=(48, 32)):
    """Upright 8-bit RGB of this size, with these colors at points inside each quadrant."""
    image = decode(content)
    assert (image.mode, image.size) == ("RGB", size)
    width, height = size
    points = [(5, 5), (width - 6, 5), (5, height - 6), (width - 6, height - 6)]
    found = np.array([image.getpixel(point) for point in points])
    assert np.abs(found - np.array(corners)).max() <= tolerance, f"expected {corners}, found {found.tolist()}"


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 6),
        ("JPEG", {"quality": 95}, 6),
        ("JPEG", {"quality": 95, "progressive": True}, 6),
    ],
)
def test_every_format_gives_its_colors_at_the_corners(kind, options, tolerance):
    assert_shows(encoded(picture(), kind, **options), CORNERS, tolerance)


def test_the_suffixes_are_those_of_the_five_formats():
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"} == SUFFIXES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_gray_becomes_three_equal_channels(kind):
    grays = (10, 90, 170, 250)
    assert_shows(encoded(picture(grays), kind), [(g, g, g) for g in grays], 0 if kind not in ("JPEG", "WEBP") else 4)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_black_and_white_bitmaps_become_rgb(kind):
    bitmap = picture((0, 255, 255, 0)).convert("1", dither=Image.Dither.NONE)
    assert bitmap.mode == "1"
    assert_shows(encoded(bitmap, kind), [BLACK, WHITE, WHITE, BLACK])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_palette_images_give_their_palette_colors(kind):
    image = picture((0, 1, 2, 3)).convert("L")
    image.putpalette([channel for color in CORNERS for channel in color])
    assert image.mode == "P"
    assert_shows(encoded(image, kind), CORNERS)


def test_the_transparent_palette_entry_becomes_white():
    image = picture((0, 1, 2, 3)).convert("L")
    image.putpalette([channel for color in CORNERS for channel in color])
    assert_shows(encoded(image, "PNG", transparency=1), [RED, WHITE, BLUE, YELLOW])


def test_a_transparent_color_of_an_rgb_png_becomes_white():
    assert_shows(encoded(picture(), "PNG", transparency=BLUE), [RED, GREEN, WHITE, YELLOW])


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_transparency_is_laid_over_white(kind, options):
    corners = [(*RED, 255), (*GREEN, 0), (*BLUE, 128), (*YELLOW, 255)]
    # 128/255 of blue, and the rest white.
    half = tuple(round(c * 128 / 255 + 255 * 127 / 255) for c in BLUE)
    assert_shows(encoded(picture(corners), kind, **options), [RED, WHITE, half, YELLOW], tolerance=1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_with_transparency_is_laid_over_white(kind):
    image = picture([(0, 255), (0, 0), (100, 255), (0, 128)])
    assert image.mode == "LA"
    assert_shows(encoded(image, kind), [BLACK, WHITE, (100, 100, 100), (127, 127, 127)], tolerance=1)


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 8), ("TIFF", 2)])
def test_cmyk_is_converted(kind, tolerance):
    # Cyan, magenta, yellow and a black of 60 %: what is left of white light.
    inks = quadrants([(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 153)]).astype(np.uint8)
    image = Image.frombytes("CMYK", (48, 32), inks.tobytes())
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    colors = [(0, 255, 255), (255, 0, 255), (255, 255, 0), (102, 102, 102)]
    assert_shows(encoded(image, kind, **options), colors, tolerance)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_high_byte(kind):
    image = picture((0x0000, 0x12FF, 0x8000, 0xFFFF), dtype=np.uint16)
    assert image.mode == "I;16"
    assert_shows(encoded(image, kind), [(0, 0, 0), (0x12,) * 3, (0x80,) * 3, (0xFF,) * 3])


def test_big_endian_sixteen_bits_keep_their_high_byte():
    pixels = quadrants((0x0000, 0x12FF, 0x8000, 0xFFFF)).astype(">u2")
    image = Image.frombytes("I;16B", (48, 32), pixels.tobytes())
    assert_shows(encoded(image, "TIFF"), [(0, 0, 0), (0x12,) * 3, (0x80,) * 3, (0xFF,) * 3])


def test_thirty_two_bit_integers_within_sixteen_bits_keep_their_high_byte():
    image = picture((0, 0x12FF, 0x8000, 0xFFFF), dtype=np.int32)
    assert image.mode == "I"
    assert_shows(encoded(image, "TIFF"), [(0, 0, 0), (0x12,) * 3, (0x80,) * 3, (0xFF,) * 3])


def test_larger_thirty_two_bit_integers_are_stretched_over_their_range():
    image = picture((-(2**30), -(2**29), 0, 2**30), dtype=np.int32)
    assert_shows(encoded(image, "TIFF"), [(0,) * 3, (64,) * 3, (128,) * 3, (255,) * 3])


@pytest.mark.parametrize(("value", "gray"), [(np.nan, 0), (-np.inf, 0), (np.inf, 255)])
def test_values_that_are_not_finite_leave_the_range_of_the_others_as_it_is(value, gray):
    content = encoded(picture((value, 0.0, 0.2, 1.0), dtype=np.float32), "TIFF")
    assert_shows(content, [(gray,) * 3, (0,) * 3, (51,) * 3, (255,) * 3])


def test_the_transparent_gray_of_a_sixteen_bit_png_becomes_white():
    image = picture((0x0000, 0x12FF, 0x8000, 0xFFFF), dtype=np.uint16)
    content = encoded(image, "PNG", transparency=0x8000)
    assert_shows(content, [(0, 0, 0), (0x12,) * 3, WHITE, WHITE])


@pytest.mark.parametrize("kind", ["GIF", "PPM", "TGA", "ICO", "EPS", "PDF"])
def test_other_formats_are_not_decoded(kind):
    with pytest.raises(BadImageError, match="not an image"):
        decode(encoded(picture(), kind))


def test_long_texts_and_color_profiles_do_not_make_a_png_bad():
    info = PngInfo()
    info.add_text("history", "A" * 3_000_000, zip=True)
    assert_shows(encoded(picture(), "PNG", pnginfo=info), CORNERS)
    assert_shows(encoded(picture(), "PNG", icc_profile=bytes(3_000_000)), CORNERS)


def test_an_image_in_memory_is_converted_as_its_file_is_and_stays_as_it_was():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture([(*RED, 255), (*GREEN, 0), (*BLUE, 128), (*YELLOW, 255)]), "PNG", exif=exif)
    image = Image.open(io.BytesIO(content))
    assert (np.asarray(upright_rgb(image)) == np.asarray(decode(content))).all()
    assert (image.mode, image.size, image.getexif()[0x0112]) == ("RGBA", (48, 32), 6)


def test_a_lack_of_memory_is_no_verdict_about_the_image(monkeypatch):
    def fail(image, signed):
        raise MemoryError

    monkeypatch.setattr("afield.data.decode._rgb", fail)
    with pytest.raises(MemoryError):
        decode(encoded(picture(), "PNG"))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.5, 7.5), (100.0, 4000.0)])
def test_floating_point_is_stretched_over_its_range(low, high):
    image = picture((low, low + 0.2 * (high - low), low + 0.6 * (high - low), high), dtype=np.float32)
    assert image.mode == "F"
    assert_shows(encoded(image, "TIFF"), [(0,) * 3, (51,) * 3, (153,) * 3, (255,) * 3], tolerance=1)


def test_constant_floating_point_is_black_rather_than_a_division_by_zero():
    assert_shows(encoded(picture((3.0,) * 4, dtype=np.float32), "TIFF"), [BLACK] * 4)


STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""How a camera stores an upright picture under each orientation tag; 6 is shown by a quarter turn clockwise."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 6), ("PNG", 0), ("TIFF", 0)])
def test_the_exif_orientation_is_applied(kind, tolerance, orientation):
    stored = STORED[orientation](quadrants(CORNERS).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert_shows(content, CORNERS, tolerance)


def test_the_exif_orientation_is_applied_to_sixteen_bits_too():
    stored = np.ascontiguousarray(np.rot90(quadrants((0x0000, 0x1200, 0x8000, 0xFF00)).astype(np.uint16)))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(stored), "PNG", exif=exif)
    assert_shows(content, [(0, 0, 0), (0x12,) * 3, (0x80,) * 3, (0xFF,) * 3])


@pytest.mark.parametrize(
    ("tag", "kind"),
    [(0x0128, 2), (0x011A, 2), (0x010E, 11)],
    ids=["unit-as-text", "resolution-as-text", "title-as-float"],
)
def test_other_exif_entries_of_a_wrong_type_do_not_stop_the_orientation(tag, kind):
    """Cameras and editors write such entries; the pixels and the orientation are whole."""
    entries = sorted([(0x0112, 3, 1, struct.pack("<HH", 6, 0)), (tag, kind, 1, b"a\0\0\0")])
    table = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0)
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(quadrants(CORNERS).astype(np.uint8))))
    assert_shows(encoded(stored, "JPEG", exif=exif, quality=95), CORNERS, tolerance=6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_a_truncated_file_is_bad_and_the_reason_is_given(kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(BadImageError, match=r"damaged|not an image"):
        decode(content[: int(share * len(content))])


def test_an_empty_file_is_bad():
    with pytest.raises(BadImageError, match="the file is empty"):
        decode(b"")


def test_text_named_as_an_image_is_bad(tmp_path):
    (tmp_path / "notes.jpg").write_text("<html>404 not found</html>")
    with pytest.raises(BadImageError, match="not an image"):
        decode((tmp_path / "notes.jpg").read_bytes())


def png_claiming(width, height):
    """A PNG of a few dozen bytes whose header claims any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [13_400, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side):
    content = png_claiming(side, side)
    assert len(content) < 100
    assert side**2 > MAX_PIXELS
    with pytest.raises(BadImageError, match="more"):
        decode(content)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"]),
    places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_whatever_is_flipped_in_a_file_it_decodes_or_is_bad(kind, places):
    content = bytearray(encoded(picture(), kind))
    for place, value in places:
        content[place % len(content)] = value
    try:
        image = decode(bytes(content))
    except BadImageError as error:
        assert str(error)  # noqa: PT017
    else:
        assert image.mode == "RGB"


PHOTOGRAPH = encoded(Image.fromarray(datasets.load_sample_image("china.jpg")[:424]), "JPEG", quality=95)
"""640 x 424 pixels."""


@pytest.mark.parametrize(
    ("side", "size"),
    [(None, (640, 424)), (71, (640, 424)), (70, (320, 212)), (36, (320, 212)), (35, (160, 106)), (17, (80, 53))],
)
def test_a_large_jpeg_is_reduced_to_three_times_the_side_needed(side, size):
    assert decode(PHOTOGRAPH, side=side).size == size


@pytest.mark.parametrize(("side", "mean"), [(16, 0.4), (32, 0.4), (64, 0.4), (72, 0)])
def test_a_reduced_photograph_resizes_to_nearly_the_same_pixels(side, mean):
    found, full = decode_square(PHOTOGRAPH, side), squash(decode(PHOTOGRAPH), side)
    difference = np.abs(found.astype(int) - full)
    assert difference.mean() <= mean
    assert difference.max() <= 6
    assert (found == full).all() == (side == 72)


@given(
    width=st.integers(8, 400), height=st.integers(8, 400), side=st.integers(1, 60), kind=st.sampled_from(["L", "RGB"])
)
@settings(max_examples=50, deadline=None)
def test_reduced_sides_stay_three_times_as_long_as_needed(width, height, side, kind):
    image = decode(encoded(Image.new(kind, (width, height), "gray"), "JPEG"), side=side)
    reduced = image.size != (width, height)
    assert image.mode == "RGB"
    assert reduced == (min(width, height) >= 2 * REDUCED * side and width % 2 == height % 2 == 0)
    scale = width / image.width
    assert scale in (1, 2, 4, 8)
    assert image.size == (width / scale, height / scale)
    assert scale == 1 or min(image.size) >= REDUCED * side
    assert scale == 8 or min(image.size) < 2 * REDUCED * side or image.width % 2 or image.height % 2


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_only_jpeg_is_reduced(kind):
    assert decode(encoded(picture(), kind), side=4).size == (48, 32)


def test_a_reduced_image_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    pixels = np.kron(quadrants(CORNERS), np.ones((8, 8, 1))).astype(np.uint8)
    content = encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif)
    image = decode(content, side=20)
    assert image.size == (64, 96)
    found = np.array([image.getpixel(point) for point in ((5, 5), (58, 5), (5, 90), (58, 90))])
    assert np.abs(found - np.array([BLUE, RED, YELLOW, GREEN])).max() <= 6


def test_the_limit_of_pixels_is_that_of_the_file():
    with pytest.raises(BadImageError, match="640 x 424 pixels, more than the allowed 200,000"):
        decode(PHOTOGRAPH, 200_000, side=8)
    assert longer_side(PHOTOGRAPH) == 640


def test_a_size_with_two_sides_needs_the_longer_one():
    found = decode_square(PHOTOGRAPH, (8, 70))
    assert (found == squash(decode(PHOTOGRAPH, side=70), (8, 70))).all()
    assert found.shape == (8, 70, 3)


def test_squashing_fills_the_square_and_keeps_each_corner():
    found = squash(picture(), 16)
    assert (found.shape, found.dtype) == ((16, 16, 3), np.uint8)
    assert [tuple(found[y, x].tolist()) for y, x in ((1, 1), (1, 14), (14, 1), (14, 14))] == list(CORNERS)


def test_squashing_averages_what_it_shrinks():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    found = squash(Image.fromarray(stripes), 8)
    assert np.abs(found.astype(int) - 100).max() <= 15  # without antialiasing: 0 or 200


def test_an_image_of_the_right_size_is_not_resampled():
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    assert (squash(Image.fromarray(noise), 16) == noise).all()


def tiff(values, kind):
    """An uncompressed TIFF file of gray values; kind: 1 unsigned, 2 signed, 3 floating point."""
    height, width = values.shape
    fields = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: 1, 273: 134, 277: 1, 278: height}
    fields |= {279: values.nbytes, 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + values.tobytes()


@pytest.mark.parametrize(
    ("dtype", "kind", "low", "high"),
    [
        ("<u4", 1, 0, 2**32 - 1),
        ("<u4", 1, 2**31 - 2**20, 2**31 + 2**20),
        ("<i4", 2, -(2**31), 2**31 - 1),
        ("<u2", 1, 0, 65535),
        ("<i2", 2, -(2**15), 2**15 - 1),
        ("u1", 1, 0, 255),
        ("i1", 2, -128, 127),
        ("<f4", 3, -2.0, 3.0),
    ],
)
def test_a_ramp_of_any_type_of_number_is_a_ramp_of_gray(dtype, kind, low, high):
    content = tiff(np.linspace(low, high, 16).reshape(4, 4).astype(dtype), kind)
    assert np.asarray(decode(content))[..., 0].ravel().tolist() == list(range(0, 256, 17))
