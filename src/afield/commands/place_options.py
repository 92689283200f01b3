"""Options of commands that use a trained model at a new place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from afield.commands.options import SourceOptions
from afield.errors import InputError

if TYPE_CHECKING:
    from afield.deploy.place import Place
    from afield.deploy.source import Source


@dataclass(frozen=True, kw_only=True)
class PlaceOptions(SourceOptions):
    """A model, a new place, and the training data of the model.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        unlabeled: Folder of images of the new place, without labels.
        data: Training data, as given to `afield train`; needed only if the model folder lacks statistics of it, and for
            `afield adapt --tune network`.
    """

    model: Annotated[Path, tyro.conf.Positional]
    unlabeled: Path
    data: str | None = None

    @contextmanager
    def read(self) -> Iterator[tuple[Source, Place]]:
        """The statistics of the training data, and the images of the new place."""
        from afield.console import watching
        from afield.deploy import load
        from afield.deploy.adapt import check_not_adapted
        from afield.deploy.hub import model_folder
        from afield.deploy.place import read_place
        from afield.deploy.source import Source, learn_source
        from afield.launch.fabric import make_fabric

        folder = model_folder(self.model)
        model = load(folder)
        check_not_adapted(folder)
        source = Source.load(folder, model)
        with watching() as callback:
            place = read_place(model, Path(self.unlabeled), self.on_bad_image, callback.features)
            if self.data is not None and (source is None or not source.plays):
                source = learn_source(
                    folder, self.load_images(model.image_size, callback.decode), make_fabric("cpu", "32"), callback
                )
            if source is None:
                raise InputError(f"{folder} has no statistics of its training data; give the data with --data")
            yield source, place
