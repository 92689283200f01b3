"""``afield augment learn`` and ``show``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from afield.commands.options import ImageOptions
from afield.commands.train import Train
from afield.errors import InputError
from afield.validation import check_number

if TYPE_CHECKING:
    from afield.records import Record

PAGE = "augmentation.html"


@dataclass(frozen=True)
class AugmentLearn(Train):
    """Learn an augmentation against a classifier, then train the classifier with it.

    The same as `afield train --recipe erm --augment learned`, with an HTML page of what was learned.

    Attributes:
        recipe: Recipe, as in `afield train`; the default is the one with which learned augmentation was studied.
        augment: Name from `afield list augmentors`, alone or joined by + with names from `afield list augmentations`.
        settings: Settings of the augmentor, as sign=printed, recognized=0.8 or augmentor.form=free.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield augment learn --data photos/ --epochs 20",)

    photos_frozen: ClassVar[bool] = False

    recipe: str = "erm"
    augment: str = "learned"
    settings: tuple[str, ...] = ()

    @property
    def page(self) -> Path:
        """The path of the page."""
        return self.folder("augment-learn") / PAGE

    def run(self) -> Record:
        """Learn and train, unless it is finished; returns the record that is written to ``record.json``."""
        from afield.recipes import resolve
        from afield.runs.augmentation import learned_part

        overrides = (*self.set, *(f"augment_options.{setting}" for setting in self.settings))
        (recipe,) = resolve([self.recipe], overrides)
        names = recipe.augment or self.augment
        if learned_part(names) is None:
            raise InputError(f"augment={names!r} must include a name from `afield list augmentors`")
        record = Train.run(dataclasses.replace(self, out=self.page.parent, set=overrides))
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(ImageOptions)}
        AugmentShow(what=str(self.page.parent), out=self.page, **data).run()
        return record


@dataclass(frozen=True)
class AugmentShow(ImageOptions):
    """Make an HTML page of what an augmentation does: images before and after, and the operations applied.

    Attributes:
        what: Augmentation: the folder of a run that learned one, a file, a name from `afield list augmentations`, or
            several names joined by +.
        count: Number of images to show.
        seed: Seed of the choice of images and of the augmentation.
        out: Page to write; by default augmentation.html in the run folder, or a page under runs/.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield augment show trivialaugment --data photos/",)

    what: Annotated[str, tyro.conf.Positional] = "trivialaugment"
    count: int = 12
    seed: int = 0
    out: Path | None = None

    def run(self) -> Path:
        """The path of the page."""
        from afield.classifier import LogitsOnly
        from afield.console import watching
        from afield.data.catalog import DEFAULT_IMAGE_SIZE
        from afield.deploy import load
        from afield.deploy.saved_model import MODEL
        from afield.preview.draws import ranges, subjects
        from afield.preview.failures import hardest
        from afield.preview.lookup import find_augmentation
        from afield.reporting.augmentation import Transformations, render_augmentation
        from afield.runs.augmentation import check_classes

        check_number("--count", self.count, 2, 100, whole=True)
        shown = find_augmentation(self.what)
        size = shown.record.config["data"]["image_size"] if shown.record else DEFAULT_IMAGE_SIZE
        with watching() as callback:
            data = self.load_data(size, callback.decode)
        if shown.record and data.images.shape[1] != size:
            raise InputError(f"{data.name}: images are {data.images.shape[1]} px wide; {self.what} needs {size} px")
        check_classes(shown.augmentation, data.class_names)
        hard = []
        if shown.record and (Path(self.what) / MODEL).exists():
            model = load(self.what)
            hard = hardest(data, shown.augmentation, LogitsOnly(model.classifier), model.class_names, seed=self.seed)
        images = subjects(data, shown.augmentation, count=self.count, seed=self.seed)
        found = Transformations(images, ranges(data, shown.augmentation, seed=self.seed), hard)
        folder, name = (Path(self.what), PAGE) if shown.record else (Path("runs"), f"augmentation-{shown.name}.html")
        out = Path(self.out or folder / name)
        return render_augmentation(out, shown.name, Path(data.name).name, found, shown.record)
