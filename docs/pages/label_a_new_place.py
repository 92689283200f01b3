"""The steps from no labels to a few labels in a new place, with the output of the commands."""

from __future__ import annotations

from typing import Any

from pages.tables import filled, study, table

WHEN = ("before", "after")


def label_a_new_place_page() -> str:
    """The commands with their output, and the accuracy before and after."""
    found = study("label-a-new-place")
    steps = {name: f"```\n$ {step['command']}\n{step['output']}\n```" for name, step in found["steps"].items()}
    return filled(
        "label_a_new_place.md.in",
        {
            **steps,
            "count": str(found["chosen"]),
            "domain": found["domain"],
            "accuracies": _accuracies(found),
            "verdict": _verdict(found),
        },
    )


def _accuracies(found: dict[str, Any]) -> str:
    """The forecast, the accuracy on the audit sample and the true accuracy, before and after."""
    forecast, others = found["forecast"], found["images"] - found["chosen"] - found["audit"]
    audit = f"on the audit sample, {found['audit']} random images"
    rows = [
        ("forecast, without labels", _interval(forecast["accuracy"], forecast["low"], forecast["high"]), ""),
        (audit, *(_interval(found[when]["accuracy"]["value"], *found[when]["accuracy"]["ci95"]) for when in WHEN)),
        (
            f"true, on the {others:,} images without a label",
            *(f"{100 * found[when]['true_accuracy']:.1f}" for when in WHEN),
        ),
    ]
    return table(("accuracy, %", "before", f"after {found['chosen']} labels"), rows)


def _interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _verdict(found: dict[str, Any]) -> str:
    """The gain, and which intervals contain the true accuracy."""
    true, forecast = {when: found[when]["true_accuracy"] for when in WHEN}, found["forecast"]
    spans = {"forecast": (true["before"], (forecast["low"], forecast["high"]))}
    spans |= {f"audit sample {when}": (true[when], found[when]["accuracy"]["ci95"]) for when in WHEN}
    inside = [name for name, (value, (low, high)) in spans.items() if low <= value <= high]
    outside = [name for name in spans if name not in inside]
    gain = 100 * (true["after"] - true["before"])
    verdict = f"The true accuracy changed by {gain:+.1f} points."
    for names, contain in ((inside, "contain"), (outside, "do not contain")):
        if names:
            verdict += f" Intervals that {contain} the true accuracy: {', '.join(names)}."
    return verdict
