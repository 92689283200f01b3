"""Evaluation after an epoch: logits and metrics of each part of the data."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from afield.algorithms import Algorithm, total
from afield.classifier import Classifier
from afield.evaluation import measure, negative_log_likelihood
from afield.fabric import Fabric
from afield.pixels import as_floats
from afield.records import Epoch
from afield.training.state import TrainState
from afield.training.subset import Splits, Subset


def predict(classifier: Classifier, source: Subset, *, batch_size: int, fabric: Fabric) -> Tensor:
    """Logits ``[N, K]`` of all examples in order, float32, on the CPU, without dropout and augmentation."""
    classifier.eval()
    found = torch.empty(len(source), classifier.num_classes)
    with torch.inference_mode(), fabric.autocast():
        for rows, inputs, _ in source.in_order(batch_size):
            found[rows] = classifier.logits(as_floats(fabric.to_device(inputs))).float().cpu()
    return found


def predict_watched(classifier: Classifier, parts: Splits, batch_size: int, fabric: Fabric) -> dict[str, Tensor]:
    """Logits ``[N, K]`` of each watched part by its name."""
    return {
        name: predict(classifier, source, batch_size=source.evaluation_batch(batch_size), fabric=fabric)
        for name, source in parts.watched.items()
    }


def validation_loss(algorithm: Algorithm, val: Subset, batch_size: int, fabric: Fabric) -> float:
    """Mean cross-entropy of the classifier during training. Sets the algorithm back to training mode."""
    logits = predict(algorithm.classifier, val, batch_size=val.evaluation_batch(batch_size), fabric=fabric)
    algorithm.train()
    return float(negative_log_likelihood(logits.numpy(), val.labels[val.indices]))


def add_epoch(classifier: Classifier, parts: Splits, state: TrainState, train_terms: Mapping[str, float]) -> None:
    """Add the metrics of an epoch to the state, and copy the weights if the metric of the state is the best so far."""

    epoch = Epoch(
        train_loss=total(train_terms),
        train_terms=dict(train_terms) if len(train_terms) > 1 else {},
        **metrics_of(parts, state.logits),
    )
    state.epochs.append(epoch)
    if state.best_epoch == len(state.epochs) - 1:
        state.best = {name: tensor.detach().cpu().clone() for name, tensor in classifier.state_dict().items()}
        state.best_logits = state.logits


def metrics_of(parts: Splits, logits: Mapping[str, Tensor]) -> dict[str, Any]:
    """The metrics on ``validation`` images and on each part of ``test``, from the logits ``[N, K]`` by part."""

    def figures(part: str) -> dict[str, float]:
        source = parts.watched[part]
        found = measure(logits[part].numpy(), source.labels[source.indices], source.domain_of)
        return {name: float(value) for name, value in found.items()}

    validation = figures("validation")
    return {
        "validation": {**validation, "loss": validation["nll"]},
        "test": {name: figures(f"test/{name}") for name in parts.tests},
    }
