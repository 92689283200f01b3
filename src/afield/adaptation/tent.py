"""Tent: trains normalization layers by entropy minimization in the new place, with early stopping without labels."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from afield.adaptation.features import batches
from afield.adaptation.mutual_information import mutual_information
from afield.adaptation.registry import ADAPTATIONS, Adaptation
from afield.adaptation.source import SourceStatistics
from afield.algorithms.parts.target import entropy
from afield.classifier import Classifier
from afield.errors import InputError
from afield.validation import check_number

NORMALIZATIONS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


@ADAPTATIONS.register(
    "tent", reference="Wang et al., Tent: Fully Test-Time Adaptation by Entropy Minimization, ICLR 2021."
)
class Tent(Adaptation):
    """Trains normalization layers by entropy minimization, with early stopping without labels.

    The scales and shifts of the backbone's normalization layers are trained to minimize the entropy of the predictions.

    The paper normalizes each batch by its own statistics. Here, batch normalization keeps its statistics, so that the
    adapted model can predict single images; ``batch_norm+tent`` first estimates the statistics in the new
    place. The entropy alone is minimal if all images are predicted as one class. Therefore training stops after an
    epoch in which the mutual information between images and predictions does not increase, and the state with the
    largest mutual information is kept.

    Args:
        learning_rate: learning rate of Adam; 0.001 in the paper.
        epochs: largest number of passes over the images.

    Raises:
        InputError: if a setting is out of range.

    References:
        Wang et al., "Tent: fully test-time adaptation by entropy minimization", ICLR 2021, equation 1.
    """

    needs = "images"

    def __init__(self, *, learning_rate: float = 0.001, epochs: int = 5) -> None:
        check_number("learning_rate", learning_rate, 0, 10)
        check_number("epochs", epochs, 1, 1000, whole=True)
        self.learning_rate = learning_rate
        self.epochs = epochs

    def adapt(self, classifier: Classifier, inputs: Tensor, source: SourceStatistics) -> Classifier:
        """See the class.

        Raises:
            InputError: if the backbone has no normalization layers with a scale.
        """
        adapted = copy.deepcopy(classifier).eval().requires_grad_(False)
        layers = [module for module in adapted.backbone.modules() if isinstance(module, NORMALIZATIONS)]
        trained = [parameter.requires_grad_() for layer in layers for parameter in layer.parameters(recurse=False)]
        if not trained:
            raise InputError("tent needs a backbone with normalization layers that have a scale")
        optimizer = torch.optim.Adam(trained, lr=self.learning_rate)
        kept = (_information(adapted, inputs), [parameter.detach().clone() for parameter in trained])
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.epochs):
            for batch in batches(inputs[torch.randperm(len(inputs), generator=generator)]):
                optimizer.zero_grad()
                entropy(adapted.logits(batch)).mean().backward()
                optimizer.step()
            if not (reached := _information(adapted, inputs)) > kept[0]:
                break
            kept = (reached, [parameter.detach().clone() for parameter in trained])
        with torch.no_grad():
            for parameter, value in zip(trained, kept[1], strict=True):
                parameter.copy_(value)
        return adapted.requires_grad_(True)


def _information(classifier: Classifier, inputs: Tensor) -> float:
    with torch.no_grad():
        return float(mutual_information(torch.cat([classifier.logits(batch) for batch in batches(inputs)])))
