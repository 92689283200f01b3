"""WebDataset shards: ``.tar`` files in which the files of an example follow each other and have the same name."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from afield.data.cache import Reading, content_keys, images_cache
from afield.data.decode import SUFFIXES
from afield.data.examples import Example, load_examples
from afield.data.images import ImageSet
from afield.errors import InputError


def find_shards(data: str) -> list[Path]:
    """The files of ``shards-{000..009}.tar``, of a single ``.tar``, or of a folder of them; otherwise none.

    Raises:
        InputError: a missing file, or braces without a range of numbers.
    """
    if Path(data).is_dir():
        return sorted(Path(data).glob("*.tar"))
    if not data.endswith(".tar"):
        return []
    first, brace, rest = data.partition("{")
    if not brace:
        found = [Path(data)]
    elif match := re.fullmatch(r"(\d+)\.\.(\d+)\}([^{}]*)", rest):
        low, high, last = match.groups()
        found = [Path(f"{first}{number:0{len(low)}}{last}") for number in range(int(low), int(high) + 1)]
    else:
        raise InputError(f"--data {data}: braces must hold a range of numbers, as in shards-{{000..009}}.tar")
    if missing := [path for path in found if not path.is_file()]:
        raise InputError(f"no such file: {missing[0]}")
    return found


def load_shards(name: str, shards: Sequence[Path], reading: Reading) -> ImageSet:
    """The images of all shards, squashed to squares.

    An example is an image (``KEY.jpg``, ``.png``, ...), its class in ``KEY.cls`` (a number from 0, or a name) and
    optionally its domain in ``KEY.domain``; other files are ignored. If the name of every shard has train, val or test
    in it (as in ``set-train-000.tar``), and not all the same one, these are given splits.

    Raises:
        InputError: a damaged shard, an image without a class, or what `load_examples` refuses.
    """
    splits = [_split(shard) for shard in shards]
    if not all(splits) or len(set(splits)) == 1:
        splits = [""] * len(shards)

    def read() -> Iterator[Example]:
        for shard, split in zip(shards, splits, strict=True):
            yield from _examples(shard, split)

    with images_cache() as root:
        keys = [content_keys(root, shard.parent, [shard.name])[0] for shard in shards]
        return load_examples(name, root, ["shards", keys, splits], read, reading)


def _split(shard: Path) -> str:
    words = re.split(r"[^a-z]+", shard.stem.lower())
    return next((split for split in ("train", "val", "test") if split in words), "")


def _examples(shard: Path, split: str) -> Iterator[Example]:
    """The examples of a shard, in one pass from its beginning to its end."""
    parts: dict[str, bytes] = {}
    before = ""
    try:
        with tarfile.open(shard, "r|*") as archive:
            for member in archive:
                key, _, extension = member.name.rpartition(".")
                if not member.isfile() or Path(member.name).name.startswith("."):
                    continue
                if key != before:
                    yield from _example(shard, before, parts, split)
                    before, parts = key, {}
                file = archive.extractfile(member)
                assert file is not None
                parts[extension.lower()] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"cannot read {shard} as a .tar file: {error}") from None
    yield from _example(shard, before, parts, split)


def _example(shard: Path, key: str, parts: dict[str, bytes], split: str) -> Iterator[Example]:
    """The example of these files, if one of them is an image."""
    image = next((extension for extension in parts if f".{extension}" in SUFFIXES), None)
    if image is None:
        return
    path = f"{shard.name}/{key}.{image}"
    if "cls" not in parts:
        raise InputError(f"{path} has no class: {key}.cls is missing")
    label = parts["cls"].decode(errors="replace").strip()
    domain = parts.get("domain", b"").decode(errors="replace").strip()
    yield Example(path, parts[image], int(label) if label.isdecimal() else label, domain, split)
