"""Sharded heads in one to three processes against one head with the whole batch and all classes."""

from __future__ import annotations

import copy
import math
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from afield.heads import CombinedMarginHead, ShardedHead
from afield.objective import Objective

D, B = 6, 5
CLASSES = {2: 7, 3: 10}
"""How many classes for how many processes: no shard has the size of every other."""
MARGINS = {
    "none": {"margin_rad": 0.0},
    "angle": {"margin_rad": 0.3},
    "all": {"margin_multiplier": 1.3, "margin_rad": 0.2, "margin_cos": 0.1, "gradient": "exact", "scale": 12.0},
    "warming up": {"margin_rad": 0.4, "margin_warmup": 4},
}
LOSSES = {"cross_entropy": 1.0, "complement_flattening": 0.5}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def examples(processes, step=0, margins="angle"):
    """Features and targets of all processes; the first process has one row that does not count."""
    generator = torch.Generator().manual_seed(1000 * step + processes)
    features = torch.randn(processes * B, D, generator=generator)
    targets = torch.randint(CLASSES[processes], (processes * B,), generator=generator)
    if margins == "all":
        targets[2] = -100
    return features, targets


def own(x, rank):
    return x[rank * B : (rank + 1) * B]


def whole_head(processes, margins):
    torch.manual_seed(11)
    return CombinedMarginHead(D, CLASSES[processes], **MARGINS[margins])


def whole_heads(processes, margins):
    """One head a process on the same class vectors, each after the one step that `once` takes before its loss."""
    head = whole_head(processes, margins)
    heads = [copy.deepcopy(head) for _ in range(processes)]
    for other in heads:
        other.weight = head.weight
        if other.margin_warmup:
            other.steps += 1
    return heads


def sharded_head(processes, margins):
    """The same class vectors, those that are held here."""
    head = ShardedHead(D, CLASSES[processes], **MARGINS[margins])
    held = head.held_by(head.rank)
    with torch.no_grad():
        head.weight.copy_(whole_head(processes, margins).weight[held.start : held.stop])
    return head


def backbone():
    torch.manual_seed(12)
    return nn.Sequential(nn.Linear(D, 9), nn.Tanh(), nn.Linear(9, D))


def once(processes, rank, margins):
    """Every number and gradient of one batch; the gradient at the class vectors from two backward passes."""
    features, targets = examples(processes, margins=margins)
    x = own(features, rank).clone().requires_grad_()
    objective = Objective(sharded_head(processes, margins), LOSSES)
    y = own(targets, rank)
    separated = objective.head.target_split(x.detach(), y)
    loss = objective(x, y)
    gradient, first = torch.autograd.grad(loss, (x, objective.head.weight), retain_graph=True)
    loss.backward()
    return {
        "separated": torch.stack(separated).detach(),
        "loss": loss.detach(),
        "features": gradient,
        "weight": first,
        "weight again": objective.head.weight.grad,
        "logits": objective.logits(x).detach(),
    }


def several(processes, rank):
    """A few steps with a backbone under DistributedDataParallel."""
    model, head = DistributedDataParallel(backbone()), sharded_head(processes, "warming up")
    objective = Objective(head, LOSSES)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], 0.1, momentum=0.9)
    gradients = []
    for step in range(6):
        features, targets = examples(processes, step)
        optimizer.zero_grad()
        objective(model(own(features, rank)), own(targets, rank)).backward()
        if step == 0:
            gradients = [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.step()
    return {
        "gradients": gradients,
        "backbone": [parameter.detach() for parameter in model.parameters()],
        "weight": head.weight.detach(),
        "steps": head.steps,
    }


def error_of(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    return "no error"


def errors(processes, rank):
    head = ShardedHead(D, CLASSES[processes])
    features, targets = (own(x, rank) for x in examples(processes))
    invalid = targets.clone()
    if rank == 0:
        invalid[1] = CLASSES[processes]
    linear = Objective(head, LOSSES, linear_losses={"cross_entropy": 1.0})
    return {
        "classes": error_of(lambda: ShardedHead(D, 2 * processes - 1)),
        "targets": error_of(lambda: head(features, targets)),
        "other losses": error_of(lambda: Objective(head, {"focal": 1.0})(features, targets)),
        "linear losses": error_of(lambda: linear(features, targets)),
        "no class": error_of(lambda: head.target_split(features, invalid)),
        "soft": error_of(lambda: head.target_split(features, torch.rand(B, CLASSES[processes]))),
    }


def work(rank, processes, folder):
    """What one process does; its results go to a file."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    early = ShardedHead(D, CLASSES[processes])
    meet = {"init_method": f"file://{folder}/meet", "timeout": timedelta(seconds=60)}
    dist.init_process_group("gloo", rank=rank, world_size=processes, **meet)
    features, targets = (own(x, rank) for x in examples(processes))
    plain = CombinedMarginHead(D, CLASSES[processes])
    plain.load_state_dict(early.state_dict())
    torch.manual_seed(13)
    start = ShardedHead(D, CLASSES[processes]).weight.detach()
    after = torch.rand(3)
    torch.manual_seed(13)
    repeated = torch.equal(ShardedHead(D, CLASSES[processes]).weight, start)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = sharded_head(processes, "angle").eval()(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = sharded_head(processes, "angle").target_split(features, targets)
    results = {
        "once": {margins: once(processes, rank, margins) for margins in MARGINS},
        "several": several(processes, rank),
        "errors": errors(processes, rank),
        "start": start,
        "repeated": repeated,
        "after": after,
        "early": bool(torch.equal(early(features, targets), plain(features, targets))),
        "early loss": [Objective(head, LOSSES)(features, targets).detach() for head in (early, plain)],
        "predicted": predicted.clone(),
        "halved": torch.stack(halved).detach(),
    }
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=sorted(CLASSES), ids=lambda processes: f"{processes} processes")
def found(request, tmp_path_factory):
    """What each process of a group found."""
    folder = tmp_path_factory.mktemp("sharded")
    mp.get_context("forkserver").set_forkserver_preload(["afield.objective", "afield.heads", "pytest"])
    mp.start_processes(work, args=(request.param, str(folder)), nprocs=request.param, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


ALL_MARGINS = pytest.mark.parametrize("margins", MARGINS)


@ALL_MARGINS
def test_the_numbers_of_each_process_are_those_of_one_head_with_all_classes(found, margins):
    processes = len(found)
    head, (features, targets) = whole_head(processes, margins), examples(processes, margins=margins)
    expected = torch.stack(head.target_split(features, targets)).detach()
    values = torch.cat([results["once"][margins]["separated"] for results in found], dim=1)
    torch.testing.assert_close(values, expected, **TOLERANCE)


def test_the_numbers_by_hand(found):
    processes = len(found)
    features, targets = examples(processes)
    head = whole_head(processes, "angle")
    values = torch.cat([results["once"]["angle"]["separated"] for results in found], dim=1).T.tolist()
    for (target_logit, log_sum, mean), feature, target in zip(values, features, targets.tolist(), strict=True):
        cosines = torch.cosine_similarity(feature[None], head.weight).tolist()
        others = [head.scale * cosine for j, cosine in enumerate(cosines) if j != target]
        angle = math.acos(cosines[target]) + 0.3
        moved = math.cos(angle) if angle <= math.pi else -2 - math.cos(angle)
        assert target_logit == pytest.approx(head.scale * moved, abs=1e-3)
        assert log_sum == pytest.approx(math.log(sum(map(math.exp, others))), abs=1e-4)
        assert mean == pytest.approx(sum(others) / len(others), abs=1e-4)


@ALL_MARGINS
def test_losses_and_gradients_are_those_of_one_process_with_the_whole_batch(found, margins):
    processes = len(found)
    heads, (features, targets) = whole_heads(processes, margins), examples(processes, margins=margins)
    features.requires_grad_()
    losses = torch.stack(
        [Objective(head, LOSSES)(own(features, rank), own(targets, rank)) for rank, head in enumerate(heads)]
    )
    to_features, to_weight = torch.autograd.grad(losses.mean(), (features, heads[0].weight))
    found_losses = torch.stack([results["once"][margins]["loss"] for results in found])
    torch.testing.assert_close(found_losses, losses.detach(), **TOLERANCE)
    for name in ("weight", "weight again"):
        weight = torch.cat([results["once"][margins][name] for results in found])
        torch.testing.assert_close(weight, to_weight, **TOLERANCE)
    # Each process's gradient waits for the mean over processes that DistributedDataParallel takes of the backbone's.
    gradient = torch.cat([results["once"][margins]["features"] for results in found]) / processes
    torch.testing.assert_close(gradient, to_features, **TOLERANCE)


@ALL_MARGINS
def test_the_logits_to_predict_with_are_those_of_one_head(found, margins):
    processes = len(found)
    expected = whole_head(processes, margins)(examples(processes, margins=margins)[0])
    logits = torch.cat([results["once"][margins]["logits"] for results in found])
    torch.testing.assert_close(logits, expected, **TOLERANCE)


def test_under_autocast_and_in_inference_mode_the_numbers_are_those_of_float32(found):
    for results in found:
        assert results["predicted"].dtype == results["halved"].dtype == torch.float32
        torch.testing.assert_close(results["predicted"], results["once"]["angle"]["logits"], **TOLERANCE)
        torch.testing.assert_close(results["halved"], results["once"]["angle"]["separated"], **TOLERANCE)


def test_with_a_backbone_under_data_parallel_steps_are_those_of_one_process(found):
    processes = len(found)
    model, head = backbone(), whole_head(processes, "warming up")
    objective = Objective(head, LOSSES)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], 0.1, momentum=0.9)
    for step in range(6):
        optimizer.zero_grad()
        features, targets = examples(processes, step)
        objective(model(features), targets).backward()  # every row counts: the mean of means is the mean
        if step == 0:
            for results in found:
                for gradient, parameter in zip(results["several"]["gradients"], model.parameters(), strict=True):
                    torch.testing.assert_close(gradient, parameter.grad, **TOLERANCE)
        optimizer.step()
    for results in found:
        for parameter, expected in zip(results["several"]["backbone"], model.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected.detach(), **TOLERANCE)
        assert results["several"]["steps"] == 6
    weight = torch.cat([results["several"]["weight"] for results in found])
    torch.testing.assert_close(weight, head.weight.detach(), **TOLERANCE)


def test_shards_divide_the_classes_and_start_apart_at_one_seed(found):
    processes = len(found)
    shards = [results["start"] for results in found]
    assert sorted(map(len, shards)) == {2: [3, 4], 3: [3, 3, 4]}[processes]
    assert len(torch.cat(shards).unique()) == CLASSES[processes] * D
    assert all(results["repeated"] for results in found)
    for results in found:
        assert torch.equal(results["after"], found[0]["after"])


def test_a_head_built_before_the_processes_met_holds_all_classes(found):
    for results in found:
        assert results["early"]
        torch.testing.assert_close(*results["early loss"], atol=0, rtol=0)


def test_what_no_process_can_compute_is_an_error_in_every_process(found):
    processes, classes = len(found), CLASSES[len(found)]
    for results in found:
        errors = results["errors"]
        assert errors["classes"] == f"{processes} processes need 2 classes each, got num_classes={2 * processes - 1}"
        assert "train with its method target_split" in errors["targets"]
        assert "train with its method target_split" in errors["other losses"]
        assert "linear_losses" in errors["linear losses"]
        assert errors["no class"].startswith(f"targets must lie in [0, {classes}) in every process")
        assert "ShardedHead needs class indices [B]" in errors["soft"]


@ALL_MARGINS
def test_in_a_single_process_it_is_the_combined_head_bit_for_bit(margins):
    features, targets = examples(2, margins=margins)
    torch.manual_seed(11)
    heads = ShardedHead(D, 7, **MARGINS[margins]), whole_head(2, margins)
    assert torch.equal(heads[0].weight, heads[1].weight)
    results = []
    for head in heads:
        x = features.clone().requires_grad_()
        loss = Objective(head, LOSSES, linear_losses={"cross_entropy": 1.0})(x, targets)
        loss.backward()
        kept = targets.clamp(min=0)
        results.append([loss, x.grad, head.weight.grad, head(features), head(features, kept)])
        results[-1].extend(head.target_split(features, kept))
    for found_here, expected in zip(*results, strict=True):
        assert torch.equal(found_here, expected)


@pytest.mark.parametrize("target", [-1, 7])
def test_in_a_single_process_a_target_that_is_no_class_is_an_error(target):
    with pytest.raises(ValueError, match=f"between 0 and 6 for 7 classes, got {target}"):
        ShardedHead(D, 7).target_split(torch.randn(1, D), torch.tensor([target]))


@pytest.mark.parametrize("scale", ["learned", "adaptive"])
def test_a_scale_that_would_need_all_cosines_in_one_place_is_an_error(scale):
    with pytest.raises(ValueError, match=f'scale must be "auto" or a positive number, got {scale!r}'):
        ShardedHead(D, 7, scale=scale)


@pytest.mark.parametrize(("classes", "processes"), [(7, 2), (10, 3), (1000, 7), (4, 2), (2, 1)])
def test_every_class_is_held_by_one_process_and_every_process_holds_two(classes, processes):
    head = ShardedHead(D, classes)
    head.processes = processes
    held = [head.held_by(rank) for rank in range(processes)]
    assert [j for part in held for j in part] == list(range(classes))
    assert min(map(len, held)) >= 2
    assert max(map(len, held)) - min(map(len, held)) <= 1
