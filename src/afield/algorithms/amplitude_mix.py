"""Amplitude mix: mixes the Fourier amplitudes of images of different domains and keeps their phases."""

from collections.abc import Sequence

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.pairing import partners_elsewhere
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "amplitude_mix", reference="Xu et al., A Fourier-based Framework for Domain Generalization, CVPR 2021."
)
class AmplitudeMix(Algorithm):
    """Also trains on images with the Fourier amplitudes of another domain mixed in.

    The amplitudes of an image are mixed with those of an image of another domain, with a weight drawn uniformly from 0
    to `strength` for each image. The phases, which carry the shapes, stay. The loss is the mean of the objectives on
    the images and on the mixed images.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        strength: eta, largest weight of the other image; 1 in the paper.

    Raises:
        ValueError: if the strength is outside [0, 1].

    References:
        Xu et al., "A Fourier-based Framework for Domain Generalization", CVPR 2021, equations 4 to 6, without the
        momentum teacher (equation 7).
    """

    domains_at_least = 2
    needs = "images"
    sampling = "balanced"

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, strength: float = 1.0) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1]", strength=strength)
        self.strength = strength

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``mixed``, half of the objectives on the images and on the mixed images."""
        weight = self.strength * torch.rand(len(batch.inputs)).to(batch.inputs)
        mixed = mix_amplitudes(batch.inputs, batch.inputs[partners_elsewhere(batch.domains)], weight)
        both = self.classifier.embed(torch.cat([batch.inputs, mixed])).split(len(mixed))
        plain, other = (self.classifier.objective(embedded, batch.targets) for embedded in both)
        return {"objective": plain / 2, "mixed": other / 2}


def mix_amplitudes(images: Tensor, others: Tensor, weight: Tensor) -> Tensor:
    """Mix the Fourier amplitudes of images, by channel.

    Args:
        images: ``[B, C, H, W]`` in [0, 1]; their phases are kept.
        others: ``[B, C, H, W]``.
        weight: of the amplitudes of `others`, ``[B]``.

    Returns:
        Images ``[B, C, H, W]``, clipped to [0, 1].
    """
    found = torch.fft.rfft2(images)
    amplitudes = found.abs().lerp(torch.fft.rfft2(others).abs(), weight[:, None, None, None])
    return torch.fft.irfft2(torch.polar(amplitudes, found.angle()), s=images.shape[-2:]).clamp(0.0, 1.0)
