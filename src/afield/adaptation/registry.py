"""The interface of an adaptation, and adaptations by name."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from afield.adaptation.source import SourceStatistics
from afield.classifier import Classifier
from afield.registry import Registry


class Adaptation(ABC):
    """Adapts a trained classifier to a new place with unlabeled images.

    Hyperparameters are keyword-only and have defaults. The constructor validates them and raises `InputError`. The
    result depends on the arguments only: an adaptation with random numbers uses its own fixed seed.

    Attributes:
        needs: ``"features"`` if the backbone does not change, so that precomputed features are sufficient; otherwise
            ``"images"``.
    """

    needs: ClassVar[Literal["features", "images"]] = "features"

    @abstractmethod
    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """Return a new classifier for the new place. The given classifier is not changed.

        Args:
            classifier: trained classifier in evaluation mode.
            inputs: unlabeled examples of the new place: images ``[N, 3, H, W]``, uint8 or floats in [0, 1], or
                precomputed features ``[N, D]`` if the backbone is `nn.Identity`.
            source: statistics of the features of the training images.

        Raises:
            InputError: if this adaptation does not support the classifier.
        """


ADAPTATIONS: Registry[type[Adaptation]] = Registry("adaptation", group="afield.adaptations")
