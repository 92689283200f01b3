"""The stamp of a file: its size and times, by which a change of the content is noticed without reading it."""

import stat
from pathlib import Path


def stamp(path: Path) -> list[int] | None:
    """The size, and the times of the last changes of the content and of the metadata; None if it is not a file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        path.is_file()  # raises errors other than those of a missing file
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns] if stat.S_ISREG(found.st_mode) else None
