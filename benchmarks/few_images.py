"""A table of some images of each class in each domain of a folder, for studies that cannot use all of them.

    python benchmarks/few_images.py FOLDER --each 60 --out few.csv
    afield compare --data few.csv --root FOLDER ...

FOLDER contains domain/class/image. The images are drawn at random, with a seed that depends on domain and class only,
so a smaller number gives a part of the same images. A class with fewer images has all of them. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from afield.data.decode import SUFFIXES
from afield.records import seed_for


def drawn(folder: Path, each: int) -> list[tuple[str, str, str]]:
    """Path relative to the folder, class and domain of the images that are drawn."""
    rows = []
    for place in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        domain, label = place.parent.name, place.name
        files = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
        order = np.random.default_rng(seed_for("few images", domain, label)).permutation(len(files))[:each]
        rows += [(files[i].relative_to(folder).as_posix(), label, domain) for i in sorted(order.tolist())]
    return rows


def main() -> None:
    """Write the table, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=60, help="number of images of each class in each domain")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    parser.add_argument("--quick", action="store_true", help="2 images of each")
    args = parser.parse_args()
    rows = drawn(args.folder, 2 if args.quick else args.each)
    if not rows:
        parser.error(f"{args.folder} contains no images in domain/class/")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "domain"))
        writer.writerows(rows)
    print(json.dumps({"benchmark": "few_images", "images": len(rows), "domains": len({row[2] for row in rows})}))


if __name__ == "__main__":
    main()
