"""Images that tests share."""

from __future__ import annotations

import torch


def batch_of_bytes(count: int = 6, side: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
