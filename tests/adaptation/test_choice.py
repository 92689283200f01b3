"""Choosing an adaptation and a forecast from how training domains played the new place."""

from __future__ import annotations

import json
import math

import pytest
import torch

from afield.adaptation import SourceStatistics
from afield.adaptation.calibration import CANDIDATES, Candidate, Play, _halves, from_json, play, to_json, with_images
from afield.adaptation.choice import choose, forecast
from afield.adaptation.forecasts import Reference
from tests.adaptation.places import head_classifier

T3A, STANDARDIZE = Candidate(("t3a",)), Candidate(("standardize",), 50.0)
NAMES = ("self_agreement", "average_confidence")


def played(domain, images=50, *, gains=None, accuracy=0.5, errors=(0.1, 0.2)):
    """All other candidates lose ten points."""
    each = {candidate.key: (gains or {}).get(candidate, -0.1) for candidate in CANDIDATES}
    found = {name: (accuracy + error, accuracy - error) for name, error in zip(NAMES, errors, strict=True)}
    return Play(domain, images, accuracy, each, found)


def test_the_adaptation_that_gains_most_is_chosen_with_its_pseudo_count():
    plays = [played("day", gains={T3A: 0.02, STANDARDIZE: 0.06}), played("night", gains={T3A: 0.02, STANDARDIZE: 0.01})]
    found = choose(plays, 60)
    assert found.candidate == STANDARDIZE
    assert found.gains == {"day": 0.06, "night": 0.01}
    assert found.reason.startswith("+3.5 points on average on the training domains that played the new place")
    assert found.reason.endswith(" (day +6.0, night +1.0)")


def test_of_two_that_gain_nearly_the_same_the_method_that_is_named_first_is_chosen():
    first = Candidate(("standardize", "t3a"), 10.0)
    for gain, expected in ((0.041, first), (0.039, STANDARDIZE)):
        plays = [played(domain, gains={STANDARDIZE: 0.06, first: gain}) for domain in ("day", "night")]
        assert choose(plays, 60).candidate == expected


def test_an_adaptation_that_harms_a_domain_is_passed_over():
    plays = [
        played("day", gains={T3A: 0.02, STANDARDIZE: 0.2}),
        played("night", gains={T3A: 0.02, STANDARDIZE: -0.011}),
    ]
    assert choose(plays, 60).candidate == T3A
    plays[1] = played("night", gains={T3A: 0.02, STANDARDIZE: -0.009})
    assert choose(plays, 60).candidate == STANDARDIZE


def test_nothing_is_chosen_where_nothing_helps_or_where_the_domains_disagree():
    nothing = choose([played("day", gains={T3A: 0.004}), played("night", gains={T3A: 0.004})], 60)
    assert nothing.candidate.names == ()
    assert nothing.reason.startswith("no method gained enough: t3a changed the accuracy by +0.4 points on average")
    disagree = choose([played("day", gains={T3A: 0.2}), played("night", gains={T3A: -0.05})], 60)
    assert disagree.candidate.names == ()
    assert disagree.reason.startswith("the training domains disagree: t3a changed the accuracy by +7.5 points")


def test_a_named_adaptation_is_taken_whatever_it_gained_with_the_best_pseudo_count():
    plays = [played("day", gains={STANDARDIZE: -0.05})]
    assert choose(plays, 60, ["standardize"]).candidate == STANDARDIZE


def test_the_play_with_as_many_images_counts():
    plays = [played("day", 10, gains={T3A: -0.2}), played("day", 50, gains={T3A: 0.1})]
    assert [each.images for each in with_images(plays, 49)] == [10]
    assert [each.images for each in with_images(plays, 50)] == [50]
    assert choose(plays, 49).candidate.names == ()
    assert choose(plays, 50).candidate == T3A
    assert choose(plays, 9).reason.startswith("9 images are too few")


def test_the_forecast_with_the_smallest_error_and_its_interval():
    """Errors of 5 and 20 points. The variance is 0.05^2 + 0.6 * 0.4 / 60; t(0.95, 2 degrees of freedom) is 2.92."""
    plays = [played("day", errors=(0.05, 0.2)), played("night", errors=(0.05, 0.2))]
    found = forecast({"self_agreement": 0.6, "average_confidence": 0.9}, plays, 60)
    assert (found.accuracy, found.method, found.error) == (0.6, "self_agreement", pytest.approx(0.05))
    assert found.low == pytest.approx(0.6 - 2.92 * 0.0065**0.5, abs=1e-3)
    assert found.high == pytest.approx(0.6 + 2.92 * 0.0065**0.5, abs=1e-3)
    assert found.note == ""


def test_an_interval_stays_within_0_and_1_and_is_called_wide():
    plays = [played(domain, errors=(0.5, 0.3)) for domain in ("day", "night")]
    found = forecast({"self_agreement": 0.6, "average_confidence": 0.6}, plays, 60)
    assert (found.low, found.high, found.method) == (0, 1, "average_confidence")
    assert "too wide" in found.note


def test_without_plays_there_is_a_forecast_and_no_interval():
    found = forecast({"self_agreement": 0.6, "average_confidence": 0.9}, [], 60, "one domain cannot play")
    assert (found.accuracy, found.low, found.note) == (0.6, None, "no interval: one domain cannot play")


def moved_place(count=120):
    """Two classes on an axis; the domain lies beside the training images, and its class 0 where class 1 was."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    known = torch.stack([2.0 * labels - 1, torch.zeros(count)], dim=1) + 0.1 * torch.randn(
        count, 2, generator=generator
    )
    source = SourceStatistics.of(known, labels, torch.zeros(count, dtype=torch.long), ("here",), 2)
    return known + torch.tensor([2.0, 0.0]), labels, source


def test_a_domain_that_has_moved_plays():
    features, labels, source = moved_place()
    classifier = head_classifier(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    given = {"source": source, "reference": Reference(1.0, 0.9, 0.5), "domain": "there", "seed": 0}
    plays = play(classifier, features, labels, **given)
    assert [each.images for each in plays] == [10, 20, 50, 60]
    last = plays[-1]
    gains = {candidate: last.gains[candidate.key] for candidate in CANDIDATES}
    assert last.accuracy == pytest.approx(0.5, abs=0.1)
    assert gains[Candidate(("standardize",), 10.0)] == pytest.approx(1 - last.accuracy)
    assert gains[Candidate(("standardize",), 10.0)] > gains[Candidate(("standardize",), 50.0)]
    assert choose(plays, 60).candidate.names[0] == "standardize"
    assert set(last.forecasts) >= set(NAMES)
    assert all(len(values) == 2 and all(0 <= v <= 1 for v in values) for values in last.forecasts.values())
    assert play(classifier, features, labels, **given) == plays
    assert from_json(json.loads(json.dumps(to_json(plays)))) == plays
    assert all(map(math.isfinite, last.gains.values()))


@pytest.mark.parametrize("sizes", [[1] * 40, [5] * 8, [30, 1, 1, 1], [1, 30], [3, 7, 2, 9, 1, 1, 14]])
def test_the_halves_of_a_domain_share_no_group(sizes):
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).flip(0)
    for seed in range(20):
        first, second = _halves(len(groups), groups, torch.Generator().manual_seed(seed))
        assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(groups)))
        assert set(groups[first].tolist()).isdisjoint(groups[second].tolist())
        assert len(first) > 0
        assert len(second) > 0
        assert len(first) <= max((len(groups) + 1) // 2, max(sizes))


def test_without_groups_the_halves_are_the_halves_of_a_permutation():
    first, second = _halves(11, None, torch.Generator().manual_seed(3))
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    assert (first.tolist(), second.tolist()) == (order[:6].tolist(), order[6:].tolist())
