"""LP-FT: trains the head on fixed features first, then the whole network from that head."""

from collections.abc import Sequence

import torch

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register("lp_ft", reference="Kumar et al., Fine-Tuning can Distort Pretrained Features, ICLR 2022.")
class LPFT(Algorithm):
    """Trains the head on fixed features first, then the whole network from that head.

    The gradients of a head with random weights distort pretrained features. During the first `head` fraction of the
    steps the backbone is in evaluation mode and does not change. It needs a pretrained backbone: fixed features of a
    network with random weights are of little use.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        head: fraction of the steps that train the head alone.

    Raises:
        ValueError: if the fraction is outside [0, 1).

    References:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
        There, the head is trained until it converges, in a training of its own; here both parts share one schedule.
    """

    needs = "layers"
    data_parallel = False

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, head: float = 0.3) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1)", head=head)
        self.head = head

    def terms(self, batch: Batch) -> Terms:
        """``objective``, without a gradient for the backbone at first."""
        if batch.progress >= self.head:
            return super().terms(batch)
        self.classifier.backbone.eval()
        with torch.no_grad():
            features = self.classifier.features(batch.inputs)
        self.classifier.train(self.classifier.training)
        return {"objective": self.classifier.objective(self.classifier.dropout(features), batch.targets)}
