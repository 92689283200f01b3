"""Dropout with the random numbers of PyTorch, drawn in less time."""

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MANTISSA = 2**53 - 1
"""The bits of a random integer that PyTorch uses for a random double in [0, 1)."""

MASKS, MASK_SIZE = 2048, 2**18
"""Number of masks that a process remembers, and the largest number of features in one of them; at most 90 MB."""


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with the same result, bit for bit, and the same use of the generator.

    PyTorch converts 64 random bits for each feature on a CPU to a double and compares it with the probability. Here,
    the bits of all features are drawn first and then compared as integers, because dropout takes much of a training
    step on frozen features. The runs of a comparison that have the same seed draw the same masks, so these are
    remembered.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features of any shape -> features of the same shape."""
        if not self.training or not self.p or features.device.type != "cpu":
            return super().forward(features)
        count = features.numel()
        draw = _drawn if count <= MASK_SIZE else _drawn.__wrapped__
        packed, after = draw(torch.get_rng_state().numpy().tobytes(), count, self.p)
        torch.set_rng_state(after)
        kept = torch.empty_like(features, requires_grad=False)
        kept.as_strided((count,), (1,)).copy_(torch.from_numpy(np.unpackbits(packed, count=count)))
        return features * kept.div_(1 - self.p)


@functools.lru_cache(maxsize=MASKS)
def _drawn(state: bytes, count: int, p: float) -> tuple[NDArray[np.uint8], Tensor]:
    """Whether each of `count` features is kept, in packed bits, and the next state of the generator.

    Args:
        state: state of PyTorch's generator before the draw.
        count: number of features.
        p: probability that a feature is dropped.
    """
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    bits = torch.empty(count, dtype=torch.int64).random_(generator=generator)
    kept = bits.bitwise_and_(MANTISSA) < math.ceil((1 - p) * (MANTISSA + 1))
    return np.packbits(kept.numpy()), generator.get_state()
