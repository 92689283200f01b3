"""The prediction of a combined run, from its members."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afield.classifier import Classifier
from afield.combinations import Combination, Soup, average, mean_logits
from afield.evaluation import METRICS, figure
from afield.fabric import Fabric
from afield.records import Epoch, Record
from afield.runs.adapting import Adapter
from afield.runs.run import Run
from afield.training import Splits, TrainState
from afield.training.evaluation import metrics_of, predict_watched


@dataclass(frozen=True)
class Member:
    """A finished run.

    Attributes:
        record: its record.
        logits: logits ``[N, K]`` of each watched part by name, at the best epoch on validation images.
        weights: reads the weights of this epoch, if they are kept.
    """

    record: Record
    logits: Mapping[str, Tensor]
    weights: Callable[[], dict[str, Tensor]]


def combine(
    run: Run,
    combination: Combination,
    members: Sequence[Member],
    classifier: Classifier,
    parts: Splits,
    adapter: Adapter | None,
    fabric: Fabric,
) -> tuple[TrainState, dict[str, Any]]:
    """Join finished members. Only validation images decide which of them.

    Args:
        run: combined run.
        combination: combination of its recipe.
        members: members in the order of their numbers.
        classifier: classifier of the run. It gets the averaged weights, in place; an ensemble does not change it.
        parts: data of the run.
        adapter: what predicts in place of the classifier, if the recipe adapts.
        fabric: device and precision.

    Returns:
        a state with one epoch, which has no training loss, and details for the record: the runs of the ``members``, the
        ``validation`` metric of each, and the numbers of those ``chosen``, in the order in which they were added.
    """
    values = [_value(run, metrics_of(parts, member.logits)["validation"]) for member in members]
    if isinstance(combination, Soup):
        soup = _Averaged(run, members, classifier.to(fabric.device).to(memory_format=torch.channels_last), fabric)
        chosen = combination.choose(values, lambda numbers: _value(run, soup.validation(numbers, parts, adapter)))
        logits = soup.predict(chosen, parts, adapter)
        weights = {name: tensor.cpu() for name, tensor in classifier.state_dict().items()}
    else:
        chosen, weights = [*range(len(members))], {}
        logits = {name: mean_logits([member.logits[name] for member in members]) for name in parts.watched}
    epoch = Epoch(train_loss=None, **metrics_of(parts, logits))
    state = TrainState(
        epoch=1, epochs=[epoch], best=weights, best_logits=logits, logits=logits, metric=run.setup.metric
    )
    return state, {
        "members": [member.record.run for member in members],
        "validation": [METRICS[run.setup.metric].sign * value for value in values],
        "chosen": chosen,
    }


@dataclass(frozen=True)
class _Averaged:
    """A classifier that gets averages of the weights of members."""

    run: Run
    members: Sequence[Member]
    classifier: Classifier
    fabric: Fabric

    def predict(self, numbers: Sequence[int], parts: Splits, adapter: Adapter | None) -> dict[str, Tensor]:
        """The logits ``[N, K]`` of each watched part by name, with the average of these members."""
        self.classifier.load_state_dict(average([self.members[number].weights() for number in numbers]))
        if adapter is not None:
            return dataclasses.replace(adapter, parts=parts)(self.classifier)
        batch_size = min(self.run.training.batch_size, len(parts.train))
        return predict_watched(self.classifier, parts, batch_size, self.fabric)

    def validation(self, numbers: Sequence[int], parts: Splits, adapter: Adapter | None) -> Mapping[str, float]:
        """The metrics of the average of these members on validation images. No other images are predicted."""
        alone = dataclasses.replace(parts, tests={}, adapt={})
        metrics: Mapping[str, float] = metrics_of(alone, self.predict(numbers, alone, adapter))["validation"]
        return metrics


def _value(run: Run, validation: Mapping[str, float]) -> float:
    """The metric that selects, so that higher is better."""
    return METRICS[run.setup.metric].sign * figure(validation, run.setup.metric)
