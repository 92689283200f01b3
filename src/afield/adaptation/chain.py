"""A sequence of adaptations."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from afield.adaptation.features import backbone_features
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.classifier import Classifier
from afield.errors import unknown_name


class Chain(Adaptation):
    """Applies adaptations in order; each one adapts the result of the previous one.

    Consecutive adaptations that need only features share one forward pass of the backbone.

    Args:
        parts: adaptations in order; if empty, the classifier is returned unchanged.
    """

    def __init__(self, parts: Sequence[Adaptation]) -> None:
        self.parts = tuple(parts)

    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """See the class."""
        features = None
        for part in self.parts:
            if part.needs == "images" or inputs.ndim == 2:
                classifier, features = part.adapt(classifier, inputs, source), None
            else:
                features = backbone_features(classifier, inputs) if features is None else features
                backbone = classifier.backbone
                classifier = part.adapt(with_backbone(classifier, nn.Identity()), features, source)
                classifier = with_backbone(classifier, backbone)
        return classifier


def build_adaptation(names: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None) -> Chain:
    """Build adaptations by name, in order.

    Args:
        names: names in `ADAPTATIONS`; if empty, the classifier is unchanged.
        options: keyword arguments by name, for example ``{"t3a": {"supports": 20}}``.

    Raises:
        InputError: if a name or an option is unknown, or a value is out of range.

    Example:
        >>> [type(part).__name__ for part in build_adaptation(["standardize", "t3a"], {"t3a": {"supports": 20}}).parts]
        ['Standardize', 'T3A']
    """
    options = options or {}
    for name in options:
        if name not in names:
            unknown_name("adaptation in adaptation_options:", name, names)
    return Chain([_build(name, options.get(name, {})) for name in names])


def _build(name: str, options: Mapping[str, Any]) -> Adaptation:
    kind = ADAPTATIONS[name]
    allowed = inspect.signature(kind).parameters
    for option in options:
        if option not in allowed:
            unknown_name(f"option of adaptation {name}:", option, allowed)
    return kind(**options)


def with_backbone(classifier: Classifier, backbone: nn.Module) -> Classifier:
    """Return a copy of the classifier with another backbone. All other parts are shared."""
    other = copy.copy(classifier)
    other._modules = {**classifier._modules, "backbone": backbone}
    return other
