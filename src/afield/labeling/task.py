"""A labeling task: the images of a new place with their features, and the head of a model."""

from collections.abc import Iterable, Sequence
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
    """The images of a new place, and the head of the model for this place.

    Attributes:
        folder: folder of the images.
        paths: paths of N images, relative to the folder, with forward slashes.
        features: features of the model's backbone, ``[N, D]``.
        objective: head and losses of the model.
        class_names: K names.
        source: labeled training images of the model, if available.
        sequences: sequence of each image, ``[N]``; see `Pool`.
        predicted_losses: predicted losses of the model, ``[N]``, if it was trained to predict them.
        groups: group of each image, ``[N]``; no group is in both samples.
    """

    folder: Path
    paths: tuple[str, ...]
    features: Tensor
    objective: Objective
    class_names: tuple[str, ...]
    source: Labeled | None = None
    sequences: Tensor | None = None
    predicted_losses: Tensor | None = None
    groups: Tensor | None = None

    @cached_property
    def _index(self) -> dict[str, int]:
        return {path: index for index, path in enumerate(self.paths)}

    def indices(self, rows: Sequence[Row]) -> Tensor:
        """Return the index of the image of each row.

        Raises:
            InputError: if a path is not an image of the folder.
        """
        check_paths(rows, self._index, self.folder)
        return torch.tensor([self._index[row.path] for row in rows], dtype=torch.int64)

    def grouped_with(self, rows: Iterable[Row]) -> Tensor:
        """Whether each image is in a group with the image of a row, bool ``[N]``."""
        if self.groups is None:
            return torch.zeros(len(self.paths), dtype=torch.bool)
        return torch.isin(self.groups, self.groups[self.indices([*rows])])

    def labeled(self, rows: Sequence[Row], purpose: Purpose) -> tuple[Tensor, Tensor]:
        """Return the image indices and class indices of the rows with this purpose and the label of a class."""
        found = with_class(rows, purpose)
        labels = [self.class_names.index(row.label) for row in found]
        return self.indices(found), torch.tensor(labels, dtype=torch.int64)

    def refitted(self, rows: Sequence[Row], *, trust: float | None = None) -> Objective:
        """Refit the head to the labeled chosen images. The audit sample is not used.

        Args:
            rows: rows of the label file.
            trust: see `refit`; by default chosen by cross-validation on the chosen images.
        """
        indices, labels = self.labeled(rows, "chosen")
        if not len(indices):
            return self.objective
        target = Labeled(self.features[indices], labels)
        if trust is None:
            trust = choose_trust(self.objective, target, self.source)
        return refit(self.objective, target, self.source, trust=trust)

    def logits(self, objective: Objective) -> Tensor:
        """The logits of a head for all images, ``[N, K]``."""
        with torch.no_grad():
            return torch.cat([objective.logits(some) for some in self.features.split(8192)])

    def pool(self, rows: Sequence[Row], objective: Objective, *, draws: bool = False) -> Pool:
        """Create the pool for a strategy: labeled chosen images have labels; the images of all other rows are excluded.

        Args:
            rows: rows of the label file.
            objective: objective that computes the logits.
            draws: whether to add logits under dropout.
        """
        indices, classes = self.labeled(rows, "chosen")
        labels = torch.full((len(self.paths),), -1)
        labels[indices] = classes
        excluded = torch.zeros(len(self.paths), dtype=torch.bool)
        excluded[self.indices(rows)] = True
        excluded |= self.grouped_with(row for row in rows if row.purpose == "audit")
        excluded[indices] = False
        return Pool(
            self.features,
            self.logits(objective),
            labels >= 0,
            excluded,
            labels,
            self.sequences,
            dropout_draws(objective, self.features) if draws else None,
            self.predicted_losses,
        )
