"""The domains that tables and pages show one by one."""

from __future__ import annotations

from afield.evaluation import SHOWN_DOMAINS, Estimate, shown_domains, shown_domains_note
from afield.records import Summary, SummaryRow


def summary(*rows: dict[str, float]) -> Summary:
    recipes = {
        f"recipe {i}": SummaryRow(
            {name: Estimate(value, None, 1, None) for name, value in row.items()}, Estimate(0.5, None, 1, None), None
        )
        for i, row in enumerate(rows)
    }
    return Summary("photos", "last", "accuracy", (0,), recipes, None, "")


def test_all_domains_are_shown_up_to_the_largest_number():
    few = {f"d{i}": 0.1 for i in range(SHOWN_DOMAINS)}
    assert shown_domains(summary(few)) == tuple(few)
    assert shown_domains_note(summary(few)) == ""


def test_of_more_domains_those_are_shown_that_are_evenly_spaced_by_their_mean_over_recipes():
    count = 2 * (SHOWN_DOMAINS - 1) + 1
    order = [(7 * i) % count for i in range(count)]
    first = {f"d{i}": i / 100 + (0.3 if i % 2 else 0.0) for i in order}
    second = {f"d{i}": i / 100 - (0.3 if i % 2 else 0.0) for i in order}
    expected = tuple(f"d{i}" for i in order if i % 2 == 0)  # the lowest, the highest, and every other in between
    assert shown_domains(summary(first, second)) == expected
    assert shown_domains_note(summary(first, second)) == (
        "24 of 47 domains are shown, evenly spaced from the lowest to the highest value."
    )
