"""JiGen: classifies images and solves jigsaw puzzles of their tiles."""

from collections.abc import Sequence
from functools import cache
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within

GRID = 3
TILES = GRID * GRID


@ALGORITHMS.register("jigen", reference="Carlucci et al., Domain Generalization by Solving Jigsaw Puzzles, CVPR 2019.")
class JiGen(Algorithm):
    """Adds a jigsaw task: predicts the permutation of an image's tiles.

    At each step a fraction of the batch keeps its order. The 3 x 3 tiles of each other image are shuffled by one of P
    permutations. A linear layer on the features, used during training only, predicts the permutation; class 0 is the
    original order. Only images in original order enter the objective. This is optional in the authors' code, and their
    script for ResNet-18 does not do it. That script also converts a tenth of the tiles to gray; here an augmentation
    can do that.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        weight: alpha, weight of the jigsaw loss; 0.7 in the authors' script for ResNet-18 on PACS. The paper selects
            `weight` and `ordered` by validation.
        ordered: beta, fraction of a batch that keeps its order, at least one image. The fraction is exact; the
            authors' code draws for each image.
        count: P, number of permutations besides the original order; 30 in the paper.

    Raises:
        ValueError: if an option is out of range.

    References:
        Carlucci et al., "Domain Generalization by Solving Jigsaw Puzzles", CVPR 2019, equation 1.
    """

    needs = "images"
    permutations: Tensor

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        weight: float = 0.7,
        ordered: float = 0.6,
        count: int = 30,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", weight=weight)
        check_within("[0, 1]", ordered=ordered)
        if not (isinstance(count, int) and 1 <= count <= 1000):
            raise ValueError(f"count must be a whole number from 1 to 1000, got {count!r}")
        self.weight, self.ordered = weight, ordered
        self.register_buffer("permutations", distant_permutations(count), persistent=False)
        self.solver = nn.Linear(classifier.objective.head.in_features, count + 1)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``jigsaw``."""
        rows = torch.randperm(len(batch.inputs))
        ordered, shuffled = rows.to(batch.inputs.device).tensor_split([max(1, round(self.ordered * len(rows)))])
        orders = torch.randint(1, len(self.permutations), (len(rows),)).to(batch.inputs.device)
        orders[ordered] = 0
        puzzles = shuffle_tiles(batch.inputs[shuffled], self.permutations[orders[shuffled]])
        embedded = self.classifier.embed(batch.inputs.index_copy(0, shuffled, puzzles))
        return {
            "objective": self.classifier.objective(embedded[ordered], batch.targets[ordered]),
            "jigsaw": self.weight * F.cross_entropy(self.solver(embedded), orders),
        }


@cache
def distant_permutations(count: int) -> Tensor:
    """The identity and ``count`` permutations of nine tiles with large Hamming distances, ``[count + 1, 9]``.

    The selection is greedy. It takes the permutation with the largest minimum distance to the selected ones. Ties are
    resolved by the largest sum of distances, then by lexicographic order.

    References:
        Noroozi and Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", ECCV 2016,
        algorithm 1. The paper starts from a random permutation and uses the mean distance.
    """
    every = torch.tensor(list(permutations(range(TILES))), dtype=torch.uint8)
    least, total = torch.full((len(every),), TILES), torch.zeros(len(every), dtype=torch.int64)
    chosen = [0]
    for _ in range(count):
        distances = (every != every[chosen[-1]]).sum(dim=1)
        least, total = torch.minimum(least, distances), total + distances
        rank = least * (TILES * count + 1) + total
        chosen.append(int((rank == rank.max()).nonzero()[0]))
    return every[chosen].long()


def shuffle_tiles(images: Tensor, orders: Tensor) -> Tensor:
    """Images ``[B, C, H, W]`` with tile ``orders[b, t]`` at position ``t``. Both count row by row, from 0 to 8.

    All tiles have the same size. If 3 does not divide a side, the tiles are cut from the center, and the remaining one
    or two pixels are filled by replicating the border of the result. The image size does not change.
    """
    (height, down), (width, across) = (divmod(side, GRID) for side in images.shape[2:])
    top, left = down // 2, across // 2
    middle = images[:, :, top : top + GRID * height, left : left + GRID * width]
    tiles = middle.unflatten(3, (GRID, width)).unflatten(2, (GRID, height)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = tiles.gather(1, orders[:, :, None, None, None].expand_as(tiles)).unflatten(1, (GRID, GRID))
    joined = moved.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
    return F.pad(joined, (left, across - left, top, down - top), mode="replicate")
