"""Make a small table of camera-trap images: ``python examples/camera_traps.py FOLDER`` writes images and images.csv.

Four sites have very different numbers of images, and some lack a class. Animals come in bursts: a few images of one
scene. At night, images are gray. Some files are stored rotated, with an EXIF orientation, and some names contain spaces
and umlauts.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
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


def write(folder: Path, seed: int = 0) -> Path:
    """Write the images and their table; returns the path of the table."""
    backgrounds, rng = np.random.default_rng(0), np.random.default_rng([1, seed])
    rows = []
    for site, (bursts, animals) in SITES.items():
        background = backgrounds.uniform(40, 200, (3, 4, 3)).astype(np.uint8)
        scene = np.asarray(Image.fromarray(background).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(float)
        (folder / site).mkdir(parents=True, exist_ok=True)
        for sequence in range(bursts):
            animal = animals.split()[rng.integers(len(animals.split()))]
            for image in burst(rng, scene, animal):
                path, exif = Path(site) / f"IMG {len(rows):04d}.jpg", Image.Exif()
                if len(rows) % 10 == 7:  # the camera was mounted sideways
                    image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
                image.save(folder / path, quality=90, exif=exif)
                rows.append((path.as_posix(), animal, site, f"{site} {sequence}"))
    with open(folder / "images.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "domain", "group"), *rows])
    return folder / "images.csv"


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
