"""MixStyle: mixes the channel statistics of feature maps between images."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.distributions import Beta

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.pairing import partners_elsewhere
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Choice
from afield.models import feature_stages
from afield.validation import check_within

EPS = 1e-6


@ALGORITHMS.register("mixstyle", reference="Zhou et al., Domain Generalization with MixStyle, ICLR 2021.")
class MixStyle(Algorithm):
    """Mixes the channel statistics of early feature maps between images.

    After each of the first `stages` stages, with probability `probability`, each feature map is normalized and receives
    the mean and deviation ``weight * own + (1 - weight) * partner's``. The weight is drawn from Beta(alpha, alpha) for
    each image. No gradient flows through the statistics. Statistics are mixed during training only.

    Args:
        classifier: model to train, in place. Its backbone must have stages that return feature maps.
        domain_sizes: not used.
        probability: probability of mixing after a stage, at each step.
        alpha: parameter of the Beta distribution, 0.1 in the paper.
        stages: number of stages after which statistics are mixed. None means all but the last stage, at most three: in
            the paper's study on PACS the first three of four stages are best, and all four are harmful.
        mix: ``"crossdomain"`` draws partners from other domains, ``"random"`` from all domains. The paper has both.
            Its code shuffles the halves of a batch of two domains; here a partner is drawn for each image.

    Raises:
        ValueError: if an option is out of range.
        InputError: if the backbone has no stages.

    References:
        Zhou et al., "Domain Generalization with MixStyle", ICLR 2021, equations 1 to 6.
    """

    needs = "layers"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        probability: float = 0.5,
        alpha: Annotated[float, Choice((0.1, 0.2, 0.3))] = 0.1,
        stages: int | None = None,
        mix: Literal["random", "crossdomain"] = "random",
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1]", probability=probability)
        check_within("(0, inf)", alpha=alpha)
        if mix not in ("random", "crossdomain"):
            raise ValueError(f'mix must be "random" or "crossdomain", got {mix!r}')
        found = feature_stages(classifier.backbone)
        self.stages = min(len(found) - 1, 3) if stages is None else stages
        if not 1 <= self.stages <= len(found):
            raise ValueError(f"stages must lie between 1 and {len(found)} for this backbone, got {stages!r}")
        self.probability, self.alpha, self.mix = probability, alpha, mix

    def terms(self, batch: Batch) -> Terms:
        """``objective``, with mixed statistics in the first stages of the backbone."""

        def hook(module: object, inputs: object, maps: Tensor) -> Tensor | None:
            if float(torch.rand(())) >= self.probability:
                return None
            weight = Beta(self.alpha, self.alpha).sample((len(maps),)).to(maps)
            if self.mix == "random":
                return self.mixed(maps, torch.randperm(len(maps)).to(maps.device), weight)
            return self.mixed(maps, partners_elsewhere(batch.domains), weight)

        with ExitStack() as hooks:
            for stage in feature_stages(self.classifier.backbone)[: self.stages]:
                hooks.callback(stage.register_forward_hook(hook).remove)
            return super().terms(batch)

    @staticmethod
    def mixed(maps: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
        """Feature maps ``[B, C, H, W]`` with mixed statistics; `partner` (indices) and `weight` are ``[B]``."""
        weight = weight[:, None, None, None]
        with torch.no_grad():
            mean = maps.mean(dim=(2, 3), keepdim=True)
            deviation = (maps.var(dim=(2, 3), keepdim=True) + EPS).sqrt()
            new_mean = mean.lerp(mean[partner], 1 - weight)
            new_deviation = deviation.lerp(deviation[partner], 1 - weight)
        return (maps - mean) / deviation * new_deviation + new_mean
