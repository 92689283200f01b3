"""Confidence: what is left to the model on each unseen domain, calibration errors, and scores of unusual images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages.tables import filled, study, table

RULES = {
    "validation": "validation",
    "left-out domains together": "together",
    "each left-out domain": "each",
    "oracle": "oracle",
}


def percent(value: Mapping[str, Any] | None, digits: int = 1) -> str:
    """The mean of an estimate in percent; a dash without one."""
    return "–" if value is None else f"{100 * value['mean']:.{digits}f}"


def review_table(recipes: Mapping[str, Any]) -> str:
    """Images left to the model and their accuracy, by recipe and domain, for each rule of the threshold."""
    rows = []
    for recipe, domains in recipes.items():
        for domain, of in domains.items():
            if domain != "average":
                left = [of["left_to_the_model"][rule] for rule in RULES]
                cells = (f"{percent(each['coverage'])} → {percent(each['accuracy'])}" for each in left)
                rows.append((f"`{recipe}`", domain, percent(of["accuracy"]), *cells))
    return table(("recipe", "new place", "accuracy", *RULES.values()), rows)


def review_text(recipes: Mapping[str, Any], target: float) -> str:
    """How often the target is reached, in a sentence."""
    reached = {}
    for rule in list(RULES)[:3]:
        found = [
            of["left_to_the_model"][rule]["accuracy"]
            for domains in recipes.values()
            for domain, of in domains.items()
            if domain != "average"
        ]
        reached[rule] = (sum(each is not None and each["mean"] >= target for each in found), len(found))
    told = ", ".join(f"{RULES[rule]} {right} of {count}" for rule, (right, count) in reached.items())
    return f"Rows in which the mean accuracy on these images reaches the target: {told}."


def ece_table(recipes: Mapping[str, Any]) -> str:
    """The calibration error by recipe and domain, for each temperature."""
    names = list(next(iter(next(iter(recipes.values())).values()))["ece"])
    rows = []
    for recipe, domains in recipes.items():
        for domain, of in domains.items():
            temperature = f"{of['temperature'][names[-1]]['mean']:.2f}"
            rows.append((f"`{recipe}`", domain, *(percent(of["ece"][name]) for name in names), temperature))
    return table(("recipe", "new place", *names, "temperature"), rows)


def ece_text(recipes: Mapping[str, Any]) -> str:
    """The average calibration errors, in a sentence."""
    told = []
    for recipe, domains in recipes.items():
        ece, nll = domains["average"]["ece"], domains["average"]["nll"]
        entropies = f"{nll['none']['mean']:.2f} to {nll['left-out domains']['mean']:.2f}"
        told.append(
            f"from {percent(ece['none'])} to {percent(ece['left-out domains'])} points for `{recipe}` (cross-entropy: "
            f"from {entropies})"
        )
    return f"The temperature from left-out domains changes the average error {' and '.join(told)}."


def auroc_table(recipes: Mapping[str, Any]) -> str:
    """The area under the curve of each score by domain, of the first recipe."""
    recipe, domains = next(iter(recipes.items()))
    scores = list(domains["average"]["auroc"])
    known = domains["average"]["auroc_left_out"]
    rows = [
        (score, *(percent(of["auroc"][score]) for of in domains.values()), percent(known[score])) for score in scores
    ]
    return table((f"score (`{recipe}`)", *domains, "on left-out training domains"), rows)


def auroc_text(recipes: Mapping[str, Any]) -> str:
    """The score that the left-out domains choose, in a sentence."""
    recipe, domains = next(iter(recipes.items()))
    known = domains["average"]["auroc_left_out"]
    best = max(known, key=lambda score: known[score]["mean"])
    return (
        f"On the left-out training domains, which may choose the score, *{best}* is best for `{recipe}` "
        f"({percent(known[best])}). The column `distance` of a file of predictions is the *distance to domains* "
        f"({percent(known['distance to domains'])} there), because it needs only statistics that model folders have."
    )


def confidence_page() -> str:
    """The page."""
    found = study("confidence")
    recipes = found["recipes"]
    parts = {
        "seeds": str(found["seeds"]),
        "target": f"{100 * found['target']:.0f}",
        "review": review_table(recipes),
        "review_text": review_text(recipes, found["target"]),
        "ece": ece_table(recipes),
        "ece_text": ece_text(recipes),
        "auroc": auroc_table(recipes),
        "auroc_text": auroc_text(recipes),
    }
    return filled("confidence.md.in", parts)
