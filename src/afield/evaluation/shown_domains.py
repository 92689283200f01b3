"""The unseen domains that tables and pages show one by one, if there are too many for all of them."""

from statistics import fmean

import numpy as np

from afield.records import Summary

SHOWN_DOMAINS = 24
"""The largest number of domains that are shown one by one: more columns and panels cannot be read."""


def shown_domains(summary: Summary) -> tuple[str, ...]:
    """The unseen domains to show one by one, in the order of the summary.

    These are all domains, or, with more than `SHOWN_DOMAINS`, as many that represent all: evenly spaced in the order of
    their values (means over recipes), with the lowest and the highest.
    """
    rows = list(summary.recipes.values())
    value = {domain: fmean(row.domains[domain].mean for row in rows) for domain in rows[0].domains}
    if len(value) <= SHOWN_DOMAINS:
        return tuple(value)
    ranked = sorted(value, key=lambda domain: value[domain])
    chosen = {ranked[i] for i in np.linspace(0, len(ranked) - 1, SHOWN_DOMAINS).round().astype(int)}
    return tuple(domain for domain in value if domain in chosen)


def shown_domains_note(summary: Summary) -> str:
    """A sentence that says which domains are shown; empty if all are."""
    count = len(next(iter(summary.recipes.values())).domains)
    if count <= SHOWN_DOMAINS:
        return ""
    return f"{SHOWN_DOMAINS} of {count:,} domains are shown, evenly spaced from the lowest to the highest value."
