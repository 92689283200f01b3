"""MetaReg: meta-learns a regularizer of the class vectors that helps across domains."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.inner_step import inner_step
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.errors import InputError
from afield.objective import Objective
from afield.validation import check_within


@ALGORITHMS.register(
    "metareg",
    reference="Balaji et al., MetaReg: Towards Domain Generalization using Meta-Regularization, NeurIPS 2018.",
)
class MetaReg(Algorithm):
    """Meta-learns a weighted L1 penalty on the class vectors that helps across domains.

    A weighted sum of the class vectors' absolute entries, beside the objective; first the weights are learned.

    For the first `share` of the steps the features train with a copy of the objective for each domain. At each of
    these steps two domains are drawn. On the features of the one its copy makes some steps of gradient descent on
    objective and regularizer; how well it does then on the features of the other is differentiated by the
    regularizer's weights, through these steps, and they take their part in the optimizer's step. Neither the features
    nor the copies learn from that. For the rest of the steps the weights stay as they are, and the features train on
    with the classifier's own objective, which starts from its first values, on objective and regularizer.

    Args:
        classifier: trained in place.
        domain_sizes: a copy of the objective is kept for each.
        share: of the steps, in which the regularizer is learned.
        inner_steps: l, on the examples of one domain in a batch; the paper takes other examples for each.
        inner_rate: alpha_2, of these steps. The default is low enough for the features of pretrained networks.

    Raises:
        ValueError: an option out of bounds.
        InputError: a head that sees a sample of the classes at a step.

    References:
        Balaji et al., "MetaReg: Towards Domain Generalization using Meta-Regularization", NeurIPS 2018, algorithm 1
        with the weighted L1 regularizer. The paper trains a new network after the regularizer is known; here both
        are parts of one training, and the features go on. The weights begin at 0 and may fall below it. The paper's
        updates of each domain in turn are one, of the mean. How long each part lasts is chosen here.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        share: float = 0.5,
        inner_steps: int = 5,
        inner_rate: float = 1e-3,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1)", share=share)
        check_within("[1, inf)", inner_steps=inner_steps)
        check_within("[0, inf)", inner_rate=inner_rate)
        if getattr(classifier.objective.head, "sparse_gradients", False):
            raise InputError(
                "metareg needs all class vectors at every step, and "
                f"{type(classifier.objective.head).__name__} samples them: take another head"
            )
        self.share, self.inner_steps, self.inner_rate = share, inner_steps, inner_rate
        self.objectives = nn.ModuleList(copy.deepcopy(classifier.objective) for _ in domain_sizes)
        weights = dict(class_vectors(classifier.objective.named_parameters()))
        self.names = list(weights)
        self.regularizer = nn.ParameterList(torch.zeros_like(weight) for weight in weights.values())

    def terms(self, batch: Batch) -> Terms:
        """``domains`` and ``meta_test`` while the regularizer is learned, then ``objective`` and ``regularizer``."""
        if batch.progress >= self.share:
            objective = super().terms(batch)["objective"]
            parameters = dict(self.classifier.objective.named_parameters())
            return {"objective": objective, "regularizer": self.penalty(parameters, learned=False)}
        embedded = self.classifier.embed(batch.inputs)
        present = batch.domains.unique().tolist()
        rows = {domain: batch.domains == domain for domain in present}
        risks = [self.objectives[domain](embedded[rows[domain]], batch.targets[rows[domain]]) for domain in present]
        terms = {"domains": torch.stack(risks).mean()}
        if len(present) > 1:
            train, test = (present[place] for place in torch.randperm(len(present))[:2].tolist())
            still = embedded.detach()
            seen, unseen = ((still[rows[domain]], batch.targets[rows[domain]]) for domain in (train, test))
            terms["meta_test"] = self.meta_test(self.objectives[train], seen, unseen)
        return terms

    def meta_test(
        self, objective: Objective | nn.Module, seen: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The objective on the features and targets of a domain, after steps on those of another; a scalar.

        It is a function of the regularizer alone: where the steps start from is a constant.
        """
        moved = {name: parameter.detach().requires_grad_() for name, parameter in objective.named_parameters()}
        for _ in range(self.inner_steps):
            loss = functional_call(objective, moved, seen) + self.penalty(moved)
            moved = inner_step(moved, loss, self.inner_rate)
        return functional_call(objective, moved, unseen)

    def penalty(self, parameters: Mapping[str, Tensor], *, learned: bool = True) -> Tensor:
        """The regularizer of an objective's parameters, a scalar; a constant in its own weights unless these learn."""
        weights = [weight if learned else weight.detach() for weight in self.regularizer]
        found = [(weight * parameters[name].abs()).sum() for name, weight in zip(self.names, weights, strict=True)]
        return torch.stack(found).sum()


def class_vectors(parameters: Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
    """Of an objective's parameters by name, the matrices of its head."""
    return ((name, parameter) for name, parameter in parameters if name.startswith("head.") and parameter.ndim > 1)
