"""MetaReg: meta-learns a regularizer of the class vectors that helps across domains."""

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.inner_step import inner_step
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

    The regularizer is a weighted sum of the absolute entries of the class vectors. Training has two phases.

    In the first phase, a fraction `share` of the steps, the backbone trains with one copy of the objective per domain.
    Each step draws two domains. On the features of the first domain, its copy takes some steps of gradient descent on
    the objective plus the regularizer. The loss of the resulting copy on the features of the second domain is
    differentiated through these steps with respect to the weights of the regularizer, and the optimizer updates these
    weights. Neither the backbone nor the copies receive gradients from this loss.

    In the second phase the weights of the regularizer are fixed. The backbone continues to train with the objective of
    the classifier, which starts from its initial values, plus the regularizer.

    Args:
        classifier: model to train, in place.
        domain_sizes: one copy of the objective is created for each domain.
        share: fraction of the steps in the first phase.
        inner_steps: l, number of gradient descent steps. All use the examples of one domain in the batch; the paper
            uses new examples for each step.
        inner_rate: alpha_2, learning rate of these steps. The default is low enough for features of pretrained
            networks.

    Raises:
        ValueError: if an option is out of range.
        InputError: if the head samples its classes at each step.

    References:
        Balaji et al., "MetaReg: Towards Domain Generalization using Meta-Regularization", NeurIPS 2018, algorithm 1
        with the weighted L1 regularizer. The paper trains a new network with the learned regularizer; here the same
        network continues. The weights start at 0 and can become negative. The paper updates each domain in turn; here
        one update uses the mean over domains. The length of each phase is our choice. With a frozen backbone, the
        first phase does not change the classifier at all, and its head trains in the remaining steps only, with the
        low learning rates at the end of the schedule.
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
                f"{type(classifier.objective.head).__name__} samples them; use another head"
            )
        self.share, self.inner_steps, self.inner_rate = share, inner_steps, inner_rate
        self.objectives = nn.ModuleList(copy.deepcopy(classifier.objective) for _ in domain_sizes)
        weights = dict(class_vectors(classifier.objective.named_parameters()))
        self.names = list(weights)
        self.regularizer = nn.ParameterList(torch.zeros_like(weight) for weight in weights.values())

    def terms(self, batch: Batch) -> Terms:
        """``domains`` and ``meta_test`` in the first phase, ``objective`` and ``regularizer`` in the second."""
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
            train, test = (present[index] for index in torch.randperm(len(present))[:2].tolist())
            frozen = embedded.detach()
            seen, unseen = ((frozen[rows[domain]], batch.targets[rows[domain]]) for domain in (train, test))
            terms["meta_test"] = self.meta_test(self.objectives[train], seen, unseen)
        return terms

    def meta_test(
        self, objective: Objective | nn.Module, seen: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The objective on the features and targets of one domain after inner steps on another domain, a scalar.

        Only the weights of the regularizer receive gradients; the starting point of the inner steps is a constant.
        """
        moved = {name: parameter.detach().requires_grad_() for name, parameter in objective.named_parameters()}
        for _ in range(self.inner_steps):
            loss = functional_call(objective, moved, seen) + self.penalty(moved)
            moved = inner_step(moved, loss, self.inner_rate)
        return functional_call(objective, moved, unseen)

    def penalty(self, parameters: Mapping[str, Tensor], *, learned: bool = True) -> Tensor:
        """The regularizer of an objective's parameters, a scalar; its weights are constants unless `learned`."""
        weights = [weight if learned else weight.detach() for weight in self.regularizer]
        found = [(weight * parameters[name].abs()).sum() for name, weight in zip(self.names, weights, strict=True)]
        return torch.stack(found).sum()


def class_vectors(parameters: Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
    """Select the matrices of the head among the named parameters of an objective."""
    return ((name, parameter) for name, parameter in parameters if name.startswith("head.") and parameter.ndim > 1)
