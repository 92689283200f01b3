"""WebDataset shards: ``.tar`` files in which the files of an example are adjacent and share their base name."""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from afield.data.cache import Reading, content_keys
from afield.data.decode import SUFFIXES
from afield.data.examples import Example, load_examples
from afield.data.images import SPLIT_WORDS, ImageSet
from afield.data.layout import ignored, image_files, subfolders
from afield.errors import InputError
from afield.names import shown

MAX_IMAGE_BYTES, MAX_TEXT_BYTES, MAX_DIGITS = 2**28, 2**16, 18
"""Largest size of an image file and of a class or domain file in a shard, and largest number of label digits."""


def find_shards(data: str) -> list[Path]:
    """The shard files of ``shards-{000..009}.tar``, a single ``.tar``, or a folder of ``.tar`` files; otherwise none.

    Raises:
        InputError: if a file is missing, or braces do not contain a range of numbers.
    """
    if (folder := Path(data)).is_dir():
        if any(next(image_files(child), None) for child in subfolders(folder)):
            return []
        return sorted(path for path in folder.glob("*.tar") if not ignored(path.name))
    if not data.endswith(".tar"):
        return []
    first, brace, rest = data.partition("{")
    if not brace:
        found = [Path(data)]
    elif match := re.fullmatch(r"(\d+)\.\.(\d+)\}([^{}]*)", rest):
        low, high, last = match.groups()
        found = [Path(f"{first}{number:0{len(low)}}{last}") for number in range(int(low), int(high) + 1)]
    else:
        raise InputError(f"--data {data}: braces must contain a range of numbers, for example shards-{{000..009}}.tar")
    if missing := [path for path in found if not path.is_file()]:
        raise InputError(f"no such file: {missing[0]}")
    return found


def load_shards(name: str, shards: Sequence[Path], reading: Reading) -> ImageSet:
    """Load the images of all shards, resized to squares.

    An example consists of an image (``KEY.jpg``, ``.png``, ...), its class in ``KEY.cls`` (a number from 0, or a name)
    and optionally its domain in ``KEY.domain``. Other files are ignored. If the names of all shards contain train, val
    or test (for example ``set-train-000.tar``), and these differ, they are the given splits. In a folder with class
    folders, ``.tar`` files are not shards.

    Raises:
        InputError: if a shard is damaged, an image has no class, only some shard names contain a split, or
            `load_examples` raises an error.
    """
    splits = [_split(shard) for shard in shards]
    if len(set(splits)) == 1:
        splits = [""] * len(shards)
    elif not all(splits):
        unknown = shards[splits.index("")].name
        raise InputError(f"{name}: some shards are named train, val or test, but {unknown} is not; rename it")

    def read() -> Iterator[Example]:
        for shard, split in zip(shards, splits, strict=True):
            yield from _examples(shard, split)

    keys = [content_keys(shard.parent, [shard.name])[0] for shard in shards]
    return load_examples(name, ["shards", keys, splits], read, reading)


def _split(shard: Path) -> str:
    words = re.split(r"[^a-z]+", shard.stem.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")


class _Member(tarfile.TarInfo):
    """A member that detects truncated archives, which `tarfile` itself reads without an error."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is damaged or has been cut off ({error})") from None


def _files(shard: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the visible image, class and domain files, in one pass over the shard."""
    try:
        with tarfile.open(shard, "r|*", tarinfo=_Member) as archive:
            for member in archive:
                suffix = Path(member.name).suffix.lower()
                limit = MAX_IMAGE_BYTES if suffix in SUFFIXES else MAX_TEXT_BYTES
                if not member.isfile() or any(map(ignored, Path(member.name).parts)):
                    continue
                if suffix not in (*SUFFIXES, ".cls", ".domain"):
                    continue
                if member.size > limit:
                    raise InputError(f"{shard}: {shown(member.name)} has {member.size:,} bytes; at most {limit:,}")
                file = archive.extractfile(member)
                assert file is not None
                yield member.name, file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"cannot read {shard} as a .tar file: {error}") from None


def _examples(shard: Path, split: str) -> Iterator[Example]:
    """Yield the examples of a shard. The key ends at the first dot of the file name, as in WebDataset.

    If the class is found only with the last dot (``a.1.png`` with ``a.1.cls``), the key ends at the last dot.
    """
    parts: dict[str, bytes] = {}
    before, inner = "", ""
    for name, content in _files(shard):
        folder, _, base = name.rpartition("/")
        stem, _, extension = base.partition(".")
        key, last = f"{folder}/{stem}" if folder else stem, extension.lower().rpartition(".")[0]
        if key != before or (last != inner and f"{inner}.cls" in parts):
            yield from _example(shard, before, parts, split)
            before, parts = key, {}
        inner = last
        if extension.lower() in parts:
            raise InputError(f"{shard}: {shown(name)} occurs twice in an example")
        parts[extension.lower()] = content
    yield from _example(shard, before, parts, split)


def _example(shard: Path, key: str, parts: dict[str, bytes], split: str) -> Iterator[Example]:
    """Yield the example of these files, given by extension, if one of them is an image."""
    images = [extension for extension in parts if f".{extension.rpartition('.')[2]}" in SUFFIXES]
    if not images:
        return
    image = min(images, key=lambda extension: "." in extension)
    inner = image.rpartition(".")[0]
    texts = {kind: parts.get(kind, parts.get(f"{inner}.{kind}")) for kind in ("cls", "domain")}
    path = f"{shard.name}/{key}.{image}"
    if texts["cls"] is None:
        raise InputError(f"{shown(path)} has no class: {shown(key)}.cls is missing")
    label, domain = ((texts[kind] or b"").decode(errors="surrogateescape").strip() for kind in ("cls", "domain"))
    number = label.isascii() and label.isdecimal() and len(label) <= MAX_DIGITS
    yield Example(path, parts[image], int(label) if number else label, domain, split)
