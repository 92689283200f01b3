"""Latent structured active learning: a label informs the neighbors of its image in a sequence."""

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor

from afield.labeling.pool import Pool
from afield.labeling.potts import PottsChains
from afield.labeling.registry import STRATEGIES
from afield.validation import check_number


@STRATEGIES.register("structured", reference="Luo, Schwing and Urtasun, Latent Structured Active Learning, NIPS 2013.")
def structured(pool: Pool, count: int, generator: torch.Generator, *, coupling: float = 2.0) -> Tensor:
    """Chooses the images with the highest entropy, with a model of dependent neighbors in sequences.

    The images of a sequence form a Potts chain. After each choice, the marginals are updated as if the image were
    labeled with its most probable class. Known labels are used. Without sequences, this is maximum-entropy sampling.

    Args:
        pool: pool with sequences, and with labels if they are known.
        count: number of images.
        generator: not used.
        coupling: log factor by which equal neighbors are more probable.

    Raises:
        InputError: if the coupling is below 0 or above 20.

    References:
        Luo, Schwing and Urtasun, NIPS 2013, algorithm 1 ("separate", by the entropy of local marginals), with exact
        inference in a chain.
    """
    check_number("coupling", coupling, 0, 20)
    sequences = np.arange(len(pool)) if pool.sequences is None else pool.sequences.numpy()
    order = np.argsort(sequences, kind="stable")
    chains = PottsChains(pool.logits.double().softmax(dim=1).numpy()[order], sequences[order], coupling)
    available = pool.available.numpy()[order]
    labels = np.full(len(pool), -1) if pool.labels is None else pool.labels.numpy()
    for t in np.flatnonzero(pool.labeled.numpy()[order]).tolist():
        label = labels[order[t]]
        chains.observe(t, int(label if label >= 0 else chains.marginals[t].argmax()))
    scores = np.where(available, entr(chains.marginals).sum(axis=1), -1)
    chosen = []
    for _ in range(count):
        t = int(scores.argmax())
        chosen.append(order[t])
        available[t] = False
        start, stop = chains.observe(t, int(chains.marginals[t].argmax()))
        scores[start:stop] = np.where(available[start:stop], entr(chains.marginals[start:stop]).sum(axis=1), -1)
    return torch.from_numpy(np.array(chosen, dtype=np.int64))
