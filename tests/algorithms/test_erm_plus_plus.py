"""The recipe `erm_plus_plus`, followed by hand."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from afield.recipes import RECIPES
from afield.runs.build import build_algorithm
from tests.algorithms.small import small

STEPS = 50


def test_the_head_is_first_then_the_whole_network_and_its_later_weights_are_averaged():
    """As in DomainBed, where 5,000 steps train the head for 500 of them, and average the weights from step 600 on."""
    erm, batch = small("erm")
    classifier = erm.classifier
    network, head = (copy.deepcopy(part) for part in (classifier.backbone, classifier.objective.head))
    algorithm = build_algorithm(RECIPES["erm_plus_plus"], classifier, [4, 4, 4], seed=0).double().train()
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=0.5)
    longhand = torch.optim.SGD([*network.parameters(), *head.parameters()], lr=0.5)
    visited = []
    for done in range(1, STEPS + 1):
        optimizer.zero_grad()
        sum(algorithm(batch._replace(progress=(done - 1) / STEPS)).values()).backward()
        optimizer.step()
        algorithm.end_step(done, STEPS, lambda: 0.0)

        features = network(batch.inputs)
        longhand.zero_grad()
        logits = F.linear(features.detach() if done <= 5 else features, head.weight, head.bias)
        F.cross_entropy(logits, batch.targets).backward()
        longhand.step()
        if done > 6:
            visited.append([weight.detach().clone() for weight in (*network.parameters(), *head.parameters())])
    found = algorithm.predictor()
    expected = [torch.stack(weights).mean(dim=0) for weights in zip(*visited, strict=True)]
    for weight, mean in zip((*found.backbone.parameters(), *found.objective.head.parameters()), expected, strict=True):
        torch.testing.assert_close(weight, mean, rtol=0, atol=1e-12)
    assert (visited[0][0] - visited[-1][0]).abs().max() > 0.01
