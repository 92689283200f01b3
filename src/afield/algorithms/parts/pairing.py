"""Partners from other domains."""

import torch
from torch import Tensor


def partners_elsewhere(domains: Tensor) -> Tensor:
    """Domains ``[B]`` -> index of a random row of another domain for each row, or its own index if there is none."""
    other = (domains[:, None] != domains).cpu()
    alone = ~other.any(dim=1)
    chances = other | (torch.eye(len(domains), dtype=torch.bool) & alone[:, None])
    return torch.multinomial(chances.float(), 1).squeeze(1).to(domains.device)
