"""Learning loss: also trains a module that predicts the loss of each image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.models.loss_prediction import LossPrediction
from afield.models.stages import stage_channels, stage_means
from afield.validation import check_within


@ALGORITHMS.register("learning_loss", reference="Yoo and Kweon, Learning Loss for Active Learning, CVPR 2019.")
class LearningLoss(Algorithm):
    """Also trains a module that predicts the loss of each image, to choose images to label.

    `LossPrediction` reads the feature maps of all stages of the backbone. It becomes a part of the classifier and is
    saved with it; the logits do not depend on it. The true loss of an image is its objective in the same forward pass.
    With an odd batch, the last image has no pair.

    Args:
        classifier: model to train, in place. Its backbone must have stages that return feature maps.
        domain_sizes: not used.
        weight: weight of the mean ranking loss of the pairs; 1 in the paper.
        margin: margin of the ranking loss; 1 in the paper.
        cutoff: fraction of the training steps after which the ranking loss no longer changes the backbone; in the
            paper, 120 of 200 epochs.

    Raises:
        InputError: if an option is out of range, or the backbone has no stages.

    References:
        Yoo and Kweon, "Learning loss for active learning", CVPR 2019, equations 2 and 3 and section 4.1.
    """

    needs = "images"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        weight: float = 1.0,
        margin: float = 1.0,
        cutoff: float = 0.6,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", weight=weight, margin=margin)
        check_within("[0, 1]", cutoff=cutoff)
        self.weight, self.margin, self.cutoff = weight, margin, cutoff
        classifier.loss_prediction = LossPrediction(stage_channels(classifier.backbone))

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``ranking``, the weighted ranking loss."""
        classifier = self.classifier
        assert classifier.loss_prediction is not None
        with stage_means(classifier.backbone) as means:
            features = classifier.embed(batch.inputs)
        objective, losses = classifier.objective.with_examples(features, batch.targets)
        if batch.progress >= self.cutoff:
            means = [mean.detach() for mean in means]
        predicted = classifier.loss_prediction(means)
        pairs = len(losses) // 2
        ranking = ranking_loss(predicted[: 2 * pairs], losses[: 2 * pairs], margin=self.margin)
        return {"objective": objective, "ranking": self.weight * ranking.sum() / max(pairs, 1)}


def ranking_loss(predicted: Tensor, losses: Tensor, *, margin: float = 1.0) -> Tensor:
    """A hinge loss on the order of predicted losses within pairs of images.

    ``max(0, margin - sign(l_i - l_j) (p_i - p_j))`` for the pairs ``(i, B - 1 - i)`` of a batch.

    Args:
        predicted: predicted losses ``[B]``; B must be even.
        losses: true losses ``[B]``, without gradient.
        margin: required difference between the two predictions.

    Returns:
        one value per pair, ``[B / 2]``.

    Raises:
        ValueError: if the number of images is odd.

    Example:
        >>> ranking_loss(torch.tensor([0.0, 2.0, 0.5, 3.0]), torch.tensor([1.0, 2.0, 5.0, 4.0]))
        tensor([0.0000, 2.5000])

    References:
        Yoo and Kweon, CVPR 2019, equation 2. If two losses are equal, the second one counts as larger, as in common
        code.
    """
    if len(predicted) % 2:
        raise ValueError(f"the ranking loss needs pairs of images, got {len(predicted)} images")
    half = len(predicted) // 2
    differences, true = ((values - values.flip(0))[:half] for values in (predicted, losses.detach()))
    return (margin - torch.where(true > 0, differences, -differences)).clamp(min=0)


def features_and_losses(classifier: Classifier, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs -> backbone features ``[B, D]`` and predicted losses ``[B]`` of a classifier trained by `LearningLoss`."""
    assert classifier.loss_prediction is not None
    with stage_means(classifier.backbone) as means:
        features = classifier.backbone_features(inputs)
    return features, classifier.loss_prediction(means)
