"""Adapts the classifier of a run to each unseen part before testing, and prepares training for it."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from afield.adaptation import Adaptation, FeatureStatistics, SourceStatistics
from afield.classifier import Classifier, FeatureNorm
from afield.data import Fold, ImageSet
from afield.fabric import Fabric
from afield.pixels import as_floats
from afield.recipes import Recipe
from afield.training import Splits, Subset, predict


def standardizes(recipe: Recipe) -> bool:
    """Whether training standardizes the features of each training domain by the statistics of the domain."""
    return "standardize" in recipe.adaptation


def standardized(features: NDArray[np.float32], fold: Fold, domains: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return a copy of stored features ``[V * N, D]`` with training and validation rows standardized by domain.

    The statistics are computed from the training images of the domain, without their other views. The rows of images of
    other parts are unchanged.
    """
    found = np.array(features)
    views = np.arange(0, len(features), len(domains))[:, None]
    for domain in np.unique(domains[fold.train]):
        statistics = FeatureStatistics.of(torch.from_numpy(features[fold.train[domains[fold.train] == domain]]))
        seen = np.concatenate([fold.train, fold.val])
        rows = (views + seen[domains[seen] == domain]).ravel()
        found[rows] = (features[rows] - statistics.mean.numpy()) / statistics.std.numpy()
    return found


def source_statistics(
    classifier: Classifier, train: Subset, data: ImageSet, batch_size: int, fabric: Fabric
) -> SourceStatistics:
    """Compute the statistics of the backbone's features of all training images, without augmentation.

    Args:
        classifier: classifier; it is set to evaluation mode.
        train: training images, or their features from the backbone.
        data: data set with the names of domains and classes.
        batch_size: batch size.
        fabric: device and precision.
    """
    classifier.eval()
    with torch.no_grad(), fabric.autocast():
        features = [
            classifier.backbone_features(as_floats(fabric.to_device(inputs))).float()
            for _, inputs, _ in train.in_order(batch_size)
        ]
    labels, domains = (torch.from_numpy(values[train.indices]) for values in (data.labels, data.domains))
    every = torch.cat(features)
    return SourceStatistics.of(
        every, labels.to(every.device), domains.to(every.device), data.domain_names, len(data.class_names)
    )


def with_norm(classifier: Classifier, statistics: FeatureStatistics) -> Classifier:
    """Return a copy of the classifier that standardizes features by these statistics."""
    found = copy.deepcopy(classifier)
    norm = FeatureNorm(len(statistics.mean)).to(statistics.mean.device)
    norm.mean.copy_(statistics.mean)
    norm.std.copy_(statistics.std)
    found.feature_norm = norm
    return found


@dataclass(frozen=True)
class Adapter:
    """Predicts each evaluated part. For an unseen part, the classifier is first adapted to its unlabeled images.

    Validation images belong to the training domains and are predicted without adaptation. If features are standardized
    by domain, the statistics of the image's own domain are used; precomputed features of a frozen backbone are already
    standardized.

    Attributes:
        adaptation: adaptation of the recipe.
        standardizes: whether training standardizes features by domain.
        parts: splits of the run.
        train: training images, or their features from the backbone.
        data: data set with the names of domains and classes.
        batch_size: batch size.
        fabric: device and precision.
    """

    adaptation: Adaptation
    standardizes: bool
    parts: Splits
    train: Subset
    data: ImageSet
    batch_size: int
    fabric: Fabric

    def __call__(self, predictor: Classifier) -> dict[str, Tensor]:
        """The logits ``[N, K]`` of each evaluated part, by name."""
        source = source_statistics(predictor, self.train, self.data, self.batch_size, self.fabric)
        if self.standardizes and not isinstance(predictor.backbone, nn.Identity):
            validation = self._by_domain(predictor, source)
        else:
            validation = self._predict(predictor, self.parts.val)
        tests = {
            f"test/{name}": self._predict(self.adapted(predictor, name, source), test)
            for name, test in self.parts.tests.items()
        }
        return {"validation": validation, **tests}

    def adapted(self, predictor: Classifier, name: str, source: SourceStatistics) -> Classifier:
        """Return the classifier for an unseen part.

        Without images to adapt to, it standardizes by the statistics of all training domains, if training standardizes.
        """
        classifier = with_norm(predictor, source.pooled) if self.standardizes else predictor
        if name in self.parts.adapt:
            unlabeled = self.parts.adapt[name]
            ((inputs, _),) = unlabeled.batches([np.arange(len(unlabeled))])
            with self.fabric.autocast():
                classifier = self.adaptation.adapt(classifier.eval(), self.fabric.to_device(inputs), source)
        return classifier

    def _by_domain(self, predictor: Classifier, source: SourceStatistics) -> Tensor:
        val = self.parts.val
        found = torch.empty(len(val), predictor.num_classes)
        domains = self.data.domains[val.indices]
        for domain in np.unique(domains):
            rows = np.flatnonzero(domains == domain)
            classifier = with_norm(predictor, source.domains[self.data.domain_names[domain]])
            found[rows] = self._predict(classifier, replace(val, indices=val.indices[rows]))
        return found

    def _predict(self, classifier: Classifier, part: Subset) -> Tensor:
        return predict(classifier, part, batch_size=part.evaluation_batch(self.batch_size), fabric=self.fabric)
