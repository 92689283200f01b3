"""A new place to label: its images as a model sees them, and what labels of a few of them change."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from afield.labeling.bald import dropout_draws
from afield.labeling.label_file import Purpose, Row, check_paths, with_class
from afield.labeling.pool import Pool
from afield.labeling.refit import Labeled, choose_trust, refit
from afield.objective import Objective


@dataclass(frozen=True)
class LabelingTask:
    """The images of a new place to label, and the head of the model that is to work there.

    Attributes:
        folder: of the images.
        paths: of N images, relative to the folder, with forward slashes.
        features: of the model's backbone, ``[N, D]``.
        objective: the model's head and losses.
        class_names: K names.
        source: labeled images that the model was trained on, if they are at hand.
        sequences: the sequence of each image, ``[N]``; see `Pool`.
    """

    folder: Path
    paths: tuple[str, ...]
    features: Tensor
    objective: Objective
    class_names: tuple[str, ...]
    source: Labeled | None = None
    sequences: Tensor | None = None

    @cached_property
    def _index(self) -> dict[str, int]:
        return {path: index for index, path in enumerate(self.paths)}

    def indices(self, rows: Sequence[Row]) -> Tensor:
        """The index of each row's image.

        Raises:
            InputError: a path that is no image of the folder.
        """
        check_paths(rows, self._index, self.folder)
        return torch.tensor([self._index[row.path] for row in rows], dtype=torch.int64)

    def labeled(self, rows: Sequence[Row], purpose: Purpose) -> tuple[Tensor, Tensor]:
        """Index of the image and index of the class for each row of this purpose that has the label of a class."""
        found = with_class(rows, purpose)
        labels = [self.class_names.index(row.label) for row in found]
        return self.indices(found), torch.tensor(labels, dtype=torch.int64)

    def refitted(self, rows: Sequence[Row], *, trust: float | None = None) -> Objective:
        """The head, refitted to the chosen images that are labeled; the audit sample is not touched.

        Args:
            rows: of the label file.
            trust: see `refit`; chosen by cross-validation among the chosen images if not given.
        """
        indices, labels = self.labeled(rows, "chosen")
        if not len(indices):
            return self.objective
        target = Labeled(self.features[indices], labels)
        if trust is None:
            trust = choose_trust(self.objective, target, self.source)
        return refit(self.objective, target, self.source, trust=trust)

    def logits(self, objective: Objective) -> Tensor:
        """Logits of a head for all images, ``[N, K]``."""
        with torch.no_grad():
            return torch.cat([objective.logits(some) for some in self.features.split(8192)])

    def pool(self, rows: Sequence[Row], objective: Objective, *, draws: bool = False) -> Pool:
        """The images as strategies see them: labeled chosen ones have labels, all other rows are excluded.

        Args:
            rows: of the label file.
            objective: gives the logits.
            draws: whether to add logits under dropout.
        """
        indices, classes = self.labeled(rows, "chosen")
        labels = torch.full((len(self.paths),), -1)
        labels[indices] = classes
        excluded = torch.zeros(len(self.paths), dtype=torch.bool)
        excluded[self.indices(rows)] = True
        excluded[indices] = False
        return Pool(
            self.features,
            self.logits(objective),
            labels >= 0,
            excluded,
            labels,
            self.sequences,
            dropout_draws(objective, self.features) if draws else None,
        )
