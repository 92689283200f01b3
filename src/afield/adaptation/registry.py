"""What an adaptation is, and adaptations by name."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from afield.adaptation.source import SourceStatistics
from afield.classifier import Classifier
from afield.registry import Registry


class Adaptation(ABC):
    """How a trained classifier is adapted to a new place by unlabeled images of it.

    Hyper-parameters are keyword-only, with defaults; the constructor checks them and raises `InputError`. The result
    is decided by the arguments alone: an adaptation that draws random numbers does so from a seed of its own.

    Attributes:
        needs: ``"features"`` if the backbone stays as it is, so that ready features are enough; ``"images"`` if not.
    """

    needs: ClassVar[Literal["features", "images"]] = "features"

    @abstractmethod
    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """A new classifier for the new place; the given one is not changed.

        Args:
            classifier: trained, in evaluation mode.
            inputs: unlabeled examples of the new place: images ``[N, 3, H, W]``, uint8 or floats in [0, 1], or ready
                features ``[N, D]`` where the backbone is `nn.Identity`.
            source: statistics of the features that the classifier was trained on.

        Raises:
            InputError: a classifier that this adaptation cannot change.
        """


ADAPTATIONS: Registry[type[Adaptation]] = Registry("adaptation")
