"""Partners of examples: of other domains, of the same class, or both."""

import torch
from torch import Tensor


def partners_elsewhere(domains: Tensor) -> Tensor:
    """Domains ``[B]`` -> index of a random row of another domain for each row, or its own index if there is none."""
    other = (domains[:, None] != domains).cpu()
    alone = ~other.any(dim=1)
    chances = other | (torch.eye(len(domains), dtype=torch.bool) & alone[:, None])
    return torch.multinomial(chances.float(), 1).squeeze(1).to(domains.device)


def same_class_partners(targets: Tensor) -> Tensor:
    """Class indices ``[B]`` -> a random permutation within each class, ``[B]``."""
    order = torch.randperm(len(targets)).to(targets.device)
    shuffled = order[targets[order].argsort(stable=True)]
    partners = torch.empty_like(order)
    partners[targets.argsort(stable=True)] = shuffled
    return partners


def partners_of_class_elsewhere(targets: Tensor, domains: Tensor) -> tuple[Tensor, Tensor]:
    """Class and domain indices ``[B]`` -> rows with an example of their class in another domain, and one for each.

    The partner is drawn at random. Both results are indices ``[R]``, with R at most B.
    """
    chances = ((targets[:, None] == targets) & (domains[:, None] != domains)).cpu()
    rows = chances.any(dim=1).nonzero().squeeze(1)
    partner = torch.multinomial(chances[rows].float(), 1).squeeze(1) if len(rows) else rows
    return rows.to(targets.device), partner.to(targets.device)
