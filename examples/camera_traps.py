"""Make a small set of camera-trap images.

``python examples/camera_traps.py FOLDER`` writes images and a table of them, images.csv. With names of sites after the
folder, it writes the images of these sites into the folders site/class, without a table.

Four sites have very different numbers of images, and some lack a class. Animals come in bursts: a few images of one
scene. At night, images are gray. Some files are stored rotated, with an EXIF orientation, and some names contain spaces
and umlauts.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SITES = {
    "Bärenwald 1": (48, "fox deer boar"),
    "Bachufer": (30, "fox deer"),
    "Hütte Süd": (16, "fox deer boar"),
    "Moor": (8, "deer boar"),
}
"""Number of bursts at each site, and its classes."""

ANIMALS = {"fox": ((15, 7), (190, 110, 60)), "deer": ((11, 16), (150, 110, 70)), "boar": ((17, 12), (80, 70, 65))}
"""Half width and half height in pixels, and color."""

WIDTH, HEIGHT = 96, 72


def burst(rng: np.random.Generator, site: np.ndarray, animal: str) -> Iterator[Image.Image]:
    """Yield the images of a burst: the same light, plants and animal, which moves a little."""
    light, night = rng.uniform(0.5, 1.3), rng.random() < 0.4
    plants = rng.normal(0, 40, (9, 12, 3)).clip(-80, 80) + 128
    near = np.asarray(Image.fromarray(plants.astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    (half_width, half_height), color = ANIMALS[animal]
    scale, fur = rng.uniform(0.6, 1.4, 2), np.array(color) + rng.normal(0, 45, 3)
    x, y = rng.uniform(25, WIDTH - 25), rng.uniform(30, HEIGHT - 20)
    for _ in range(rng.integers(3, 7)):
        x, y = x + rng.normal(0, 1.5), y + rng.normal(0, 0.7)
        image = Image.fromarray((0.5 * site + 0.5 * near).clip(0, 255).astype(np.uint8))
        box = (
            x - scale[0] * half_width,
            y - scale[1] * half_height,
            x + scale[0] * half_width,
            y + scale[1] * half_height,
        )
        ImageDraw.Draw(image).ellipse(box, fill=tuple(int(value) for value in fur.clip(0, 255)))
        pixels = light * np.asarray(image.filter(ImageFilter.GaussianBlur(1))) + rng.normal(0, 5, (HEIGHT, WIDTH, 3))
        found = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        yield found.convert("L") if night else found


def photographs(seed: int) -> Iterator[tuple[str, int, str, Image.Image]]:
    """Yield site, number of the burst, animal and image of each photograph."""
    backgrounds, rng = np.random.default_rng(0), np.random.default_rng([1, seed])
    for site, (bursts, animals) in SITES.items():
        background = backgrounds.uniform(40, 200, (3, 4, 3)).astype(np.uint8)
        scene = np.asarray(Image.fromarray(background).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(float)
        for sequence in range(bursts):
            animal = animals.split()[rng.integers(len(animals.split()))]
            for image in burst(rng, scene, animal):
                yield site, sequence, animal, image


def save(image: Image.Image, path: Path, number: int) -> None:
    """Save an image; every tenth camera was mounted sideways."""
    exif = Image.Exif()
    if number % 10 == 7:
        image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90, exif=exif)


def write(folder: Path, seed: int = 0) -> Path:
    """Write the images and their table; returns the path of the table."""
    rows = []
    for site, sequence, animal, image in photographs(seed):
        path = Path(site) / f"IMG {len(rows):04d}.jpg"
        save(image, folder / path, len(rows))
        rows.append((path.as_posix(), animal, site, f"{site} {sequence}"))
    with open(folder / "images.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "domain", "group"), *rows])
    return folder / "images.csv"


def write_folders(folder: Path, sites: Sequence[str], seed: int = 0) -> Path:
    """Write the images of some sites as ``site/class/burst-number.jpg``; returns the folder."""
    for number, (site, sequence, animal, image) in enumerate(photographs(seed)):
        if site in sites:
            save(image, folder / site / animal / f"{sequence:02d}-{number:04d}.jpg", number)
    return folder


if __name__ == "__main__":
    target, *names = sys.argv[1:]
    print(write_folders(Path(target), names) if names else write(Path(target)))
