"""Sweeps: spaces and draws, the protocol on records made by hand, and whole sweeps on small images."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import afield as package
from afield.comparison.sweep.page import sweep_document
from afield.comparison.sweep.protocol import Sweep, advance, better_half, ranked
from afield.comparison.sweep.space import draw, read_changes, read_space, spaces, with_settings
from afield.comparison.sweep.summary import overall_best, read_sweep, summarize_sweep
from afield.data import Validation
from afield.distributions import Choice, LogUniform, Scaled, Uniform
from afield.errors import InputError
from afield.evaluation import estimate
from afield.models import BackboneConfig
from afield.recipes import Recipe, read_recipe, resolve
from afield.records import Epoch, read_records, seed_for
from afield.runs.config import ExperimentConfig, choose_training
from tests.command_line import refused
from tests.conftest import write_photos
from tests.data.test_splits import image_set
from tests.killed import command
from tests.made_records import made_record

TRAINING = choose_training("frozen")
SHARED = {"epochs", "batch_size", "learning_rate", "weight_decay", "dropout"}
PARTS = "abc"
IMAGES = image_set([0, 1] * 15, [name for name in PARTS for _ in range(10)])


def space_of(*names, changes=(), only=False):
    return spaces(resolve(names), TRAINING, read_changes(changes), only=only)


# Spaces and draws


def test_a_space_has_what_is_declared_beside_the_settings():
    found = space_of("erm", "irm", "label_smoothing", "arcface", "flattening")
    assert found["erm"].keys() == SHARED
    assert found["irm"].keys() - SHARED == {"algorithm_options.penalty", "algorithm_options.anneal"}
    assert found["irm"]["algorithm_options.penalty"].distribution == LogUniform(0.1, 1e5)
    assert found["irm"]["algorithm_options.penalty"].default == 1.0
    smoothing = found["label_smoothing"]["loss_options.label_smoothing.smoothing"]
    assert (smoothing.default, smoothing.distribution) == (0.1, Choice((0.0, 0.05, 0.1, 0.2)))
    assert found["arcface"]["head_options.margin_rad"].distribution == Uniform(0, 0.5)
    assert found["flattening"]["losses.complement_flattening"].distribution == LogUniform(0.1, 2)
    rate = found["erm"]["learning_rate"]
    assert (rate.default, rate.distribution) == (TRAINING.learning_rate, Scaled(0.2, 6.3))


def test_averaging_and_own_values_of_a_recipe_are_in_its_space():
    (recipe,) = resolve(["swad+irm"], ["algorithm_options.penalty=7.0", "learning_rate=0.5"])
    found = spaces([recipe], TRAINING)[recipe.name]
    assert found["averaging_options.tolerance"].default == 1.3
    assert found["algorithm_options.penalty"].default == 7.0
    assert found["learning_rate"].default == 0.5


def test_a_change_applies_to_all_recipes_that_have_the_setting_or_to_one():
    found = space_of("erm", "irm", "vrex", changes=["algorithm_options.penalty=uniform(1, 2)", "irm.dropout=fixed"])
    assert found["irm"]["algorithm_options.penalty"].distribution == Uniform(1, 2)
    assert found["vrex"]["algorithm_options.penalty"].distribution == Uniform(1, 2)
    assert "dropout" not in found["irm"]
    assert "dropout" in found["erm"]
    momentum = space_of("erm", changes=["momentum=uniform(0.5, 0.95)"])["erm"]["momentum"]
    assert (momentum.default, momentum.distribution) == (0.9, Uniform(0.5, 0.95))


def test_a_file_of_a_space_replaces_the_declared_one(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('learning_rate = "log_uniform(1e-3, 0.1)"\nirm.algorithm_options.penalty = "choice(1, 10)"\n')
    found = spaces(resolve(["erm", "irm"]), TRAINING, read_space(file), only=True)
    assert found["erm"].keys() == {"learning_rate"}
    assert found["irm"].keys() == {"learning_rate", "algorithm_options.penalty"}


def test_a_recipe_file_declares_its_space_which_does_not_change_its_runs(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('algorithm = "coral"\n[search]\n"algorithm_options.penalty" = "log_uniform(1, 2)"\n')
    recipe = read_recipe(file)
    found = spaces([recipe], TRAINING)["mine"]
    assert found["algorithm_options.penalty"].distribution == LogUniform(1, 2)
    assert recipe.config() == Recipe("mine", algorithm="coral").config()
    (joined,) = resolve([f"swad+{file}"])
    assert joined.search == recipe.search


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["learning_rat=uniform(1, 2)"],
            "unknown setting of erm and irm: 'learning_rat'; did you mean 'learning_rate'",
        ),
        (["erm.algorithm_options.penalty=fixed"], "unknown setting of erm: 'algorithm_options.penalty'"),
        (["learning_rate"], "expected NAME=DISTRIBUTION"),
        (["learning_rate=gauss(1, 2)"], "--search learning_rate: a distribution must be one of .*, or fixed"),
        ([f"erm.{name}=fixed" for name in SHARED], "recipe 'erm' has no setting to search"),
    ],
)
def test_a_wrong_change_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        space_of("erm", "irm", changes=changes)


def test_a_wrong_space_in_a_recipe_or_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"recipe 'x': search.dropout: a distribution must be one of"):
        Recipe("x", search={"dropout": "often"})
    with pytest.raises(InputError, match="unknown setting in search of recipe 'x': 'drop'; did you mean 'dropout'"):
        spaces([Recipe("x", search={"drop": "uniform(0, 1)"})], TRAINING)
    with pytest.raises(InputError, match="cannot read the space"):
        read_space(tmp_path / "none.toml")
    (tmp_path / "few.toml").write_text('irm.dropout = "uniform(0, 0.5)"\n')
    with pytest.raises(InputError, match="recipe 'erm' has no setting to search"):
        spaces(resolve(["erm", "irm"]), TRAINING, read_space(tmp_path / "few.toml"), only=True)


def test_a_draw_depends_on_its_number_and_the_name_of_the_setting_alone():
    erm, irm = space_of("erm")["erm"], space_of("irm")["irm"]
    assert draw(erm, 0) == {}
    assert draw(erm, 5) == {name: value for name, value in draw(irm, 5).items() if name in SHARED}
    assert draw(erm, 5) != draw(erm, 6)
    generator = np.random.default_rng(seed_for("draw", 5, "learning_rate"))
    expected = 0.02 * np.exp(generator.uniform(np.log(0.2), np.log(6.3)))
    assert draw(erm, 5)["learning_rate"] == pytest.approx(expected, rel=1e-3)
    assert len({draw(erm, number)["weight_decay"] for number in range(1, 20)}) == 19


def test_drawn_settings_are_where_the_recipe_uses_them():
    settings = {"learning_rate": 0.5, "algorithm_options.penalty": 3.0, "losses.cross_entropy": 2.0}
    found = with_settings(resolve(["irm"])[0], settings, "irm#1")
    assert found == Recipe(
        "irm#1",
        algorithm="irm",
        losses={"cross_entropy": 2.0},
        algorithm_options={"penalty": 3.0},
        training={"learning_rate": 0.5},
    )


# The protocol on records made by hand


def make_sweep(draws=3, recipes=("erm",), **others):
    setup = ExperimentConfig(IMAGES, BackboneConfig("resnet8"), True, Validation(), TRAINING)
    found = resolve(recipes)
    values = {"trials": 1, "seeds": 3, "held_out": tuple((part,) for part in PARTS), **others}
    return Sweep(setup, found, spaces(found, TRAINING), draws, **values)


def number_of(run):
    """The draw of a run, from its name."""
    return int(run.recipe.name.partition(",")[0].partition("#")[2] or 0)


def finished(validation, test=lambda run, part: 0.5):
    """A function that finds a record of every run, with values by run."""

    def find(run):
        figures = {part: {"accuracy": test(run, part)} for part in run.held_out}
        epochs = (Epoch(1.0, {"accuracy": validation(run)}, figures),)
        return made_record(run=run.hash, recipe=run.recipe.name, held_out=run.held_out, seed=run.seed, epochs=epochs)

    return find


def nothing(run):
    return None


def test_the_first_stage_has_all_draws_and_the_defaults_with_fresh_seeds():
    sweep = make_sweep(draws=4, recipes=("erm", "irm"), trials=2)
    state = advance(sweep, nothing)
    trials = [run for run in state.runs if run.seed in (0, 1)]
    fresh = [run for run in state.runs if run.seed in (2, 3, 4)]
    assert len(trials) == 4 * 2 * 2 * 3
    assert len(fresh) == 2 * 3 * 3
    assert {run.recipe.name for run in fresh} == {"erm", "irm"}
    assert {run.recipe.name for run in trials} == {
        f"{name}{draw}" for name in ("erm", "irm") for draw in ("", "#1", "#2", "#3")
    }
    assert len(state.later) == len(fresh)
    assert state.best == {}


def test_each_unseen_domain_has_the_draw_with_the_best_validation_of_runs_without_it():
    """The validation images of the other runs include the unseen domain, and prefer another draw."""
    preferred = {"a": 2, "b": 1, "c": 0}
    sweep = make_sweep(trials=2)
    find = finished(lambda run: 0.8 if number_of(run) == preferred[run.held_out[0]] else 0.3 + 0.1 * run.seed)
    state = advance(sweep, find)
    assert state.best == {("erm", part): number for part, number in preferred.items()}
    assert state.scores["erm", "a"] == [{0: 0.35, 1: 0.35, 2: 0.8}]
    later = {(run.recipe.name, run.held_out, run.seed) for run in state.runs if run.seed > 1}
    assert later == {
        (name, (part,), seed)
        for part, selected in (("a", "erm#2"), ("b", "erm#1"), ("c", "erm"))
        for name in ("erm", selected)
        for seed in (2, 3, 4)
    }
    assert state.later == ()


def test_the_selection_reads_no_figure_of_the_unseen_domain():
    def unreadable(run, part):
        raise AssertionError("the unseen domain was read")

    class Unseen(dict):
        def __getitem__(self, part):
            raise AssertionError("the unseen domain was read")

    def find(run):
        record = finished(lambda run: 0.1 * number_of(run))(run)
        return dataclasses.replace(record, epochs=tuple(dataclasses.replace(e, test=Unseen()) for e in record.epochs))

    assert set(advance(make_sweep(), find).best.values()) == {2}
    with pytest.raises(AssertionError, match="was read"):
        advance(make_sweep(selection="oracle"), find)


def test_leave_one_out_selects_by_other_domains_and_ignores_the_unseen_one():
    """Without a, the draws are judged on b and c by runs that hold out two domains. Test values of a are a trap."""
    values = {
        ("a", "b"): {"b": (0.1, 0.9, 0.2), "a": (1.0, 0.0, 0.0)},
        ("a", "c"): {"c": (0.1, 0.5, 0.3), "a": (1.0, 0, 0)},
    }

    def test_value(run, part):
        return values.get(run.held_out, {}).get(part, (0.6, 0.2, 0.1))[number_of(run)]

    sweep = make_sweep(selection="leave_one_out_validation")
    state = advance(sweep, finished(lambda run: 0.5, test_value))
    assert {run.held_out for run in state.runs if run.seed == 0} == {
        ("a",),
        ("b",),
        ("c",),
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    }
    assert {run.held_out for run in state.runs if run.seed > 0} == {("a",), ("b",), ("c",)}
    assert state.scores["erm", "a"][0] == pytest.approx({0: 0.1, 1: 0.7, 2: 0.25})
    assert state.best["erm", "a"] == 1


def test_a_draw_that_diverged_is_not_selected_and_is_last_in_halving():
    def find(run):
        record = finished(lambda run: 0.9 if number_of(run) == 2 else 0.1 * number_of(run))(run)
        diverged = number_of(run) == 2 and run.seed == 1
        return dataclasses.replace(record, epochs=()) if diverged else record

    sweep = make_sweep(trials=2)
    state = advance(sweep, find)
    assert all(run.may_diverge == (run.seed < 2) for run in state.runs)
    assert set(state.best.values()) == {1}
    assert state.scores["erm", "a"] == [{0: 0.0, 1: 0.1, 2: None}]
    assert overall_best(sweep, state, "erm") == 1
    assert better_half({0: None, 1: 0.1, 2: 0.0, 3: None}, "accuracy") == [1, 2]
    summary = summarize_sweep(make_sweep(draws=5, trials=2), advance(make_sweep(draws=5, trials=2), find), find)
    assert summary.tried[2].scores == {"a": (None,), "b": (None,), "c": (None,)}
    assert summary.recipes["erm"].space["learning_rate"].importance is not None


def test_ties_go_to_the_first_draw_and_the_better_half_is_rounded_up():
    assert ranked({0: 0.5, 1: 0.7, 2: 0.7}, "accuracy") == [1, 2, 0]
    assert ranked({0: 0.5, 1: 0.7, 2: 0.7}, "nll") == [0, 1, 2]
    assert better_half({4: 0.1, 2: 0.3, 0: 0.2, 7: 0.2, 8: 0.0}, "accuracy") == [0, 2, 7]


def test_halving_doubles_the_epochs_of_the_better_half():
    sweep = make_sweep(draws=7, halvings=2)
    epochs = [sweep.drawn(sweep.recipes[0], number).train_config(TRAINING).epochs for number in range(7)]
    done = {}

    def find(run):
        return done.get(run.hash)

    steps = []
    make = finished(lambda run: 0.1 * number_of(run))  # a higher number is better
    for _ in range(3):
        state = advance(sweep, find)
        steps.append([run for run in state.runs if run.seed == 0 and run.hash not in done])
        done |= {run.hash: make(run) for run in state.runs}
    for runs, alive, factor in zip(steps, (range(7), (3, 4, 5, 6), (5, 6)), (4, 2, 1), strict=True):
        assert {number_of(run) for run in runs} == set(alive)
        assert len(runs) == 3 * len(alive)
        assert all(run.training.epochs == max(1, round(epochs[number_of(run)] / factor)) for run in runs)
    names = {run.recipe.name for runs in steps for run in runs if number_of(run) == 6}
    assert names == {"erm#6", f"erm#6, {round(epochs[6] / 4)} epochs", f"erm#6, {round(epochs[6] / 2)} epochs"}
    assert advance(sweep, find).best == {("erm", part): 6 for part in PARTS}
    assert len(advance(sweep, nothing).later) == 3 * (4 + 2) + 3 * 3


def test_the_gain_is_paired_by_fresh_seed_and_the_trials_do_not_enter():
    """Domain accuracies of defaults 0.4, of the draw 0.5 to 0.52, over seeds 1 to 3; seed 0 has other values."""

    def test_value(run, part):
        if run.seed == 0:
            return 0.99
        base = {"a": 0.3, "b": 0.4, "c": 0.5}[part] + 0.05 * run.seed
        return base + (0.1 + 0.01 * (run.seed - 1) if number_of(run) else 0)

    sweep = make_sweep(recipes=("erm", "irm"))
    find = finished(lambda run: 0.5 if number_of(run) == 1 else 0.4, test_value)
    summary = summarize_sweep(sweep, advance(sweep, find), find)
    row = summary.recipes["erm"]
    assert row.default.mean == pytest.approx(0.5)
    assert row.gain.mean == pytest.approx(0.11)
    expected = estimate([0.10, 0.11, 0.12], level=1 - 0.05 / 2)
    assert row.gain.ci95 == pytest.approx(expected.ci95)
    assert row.gain_at_new_place.mean == pytest.approx(0.11)
    assert row.gain_at_new_place.sd == pytest.approx(0, abs=1e-12)
    assert row.domains["a"].draw == 1
    assert row.domains["a"].settings == sweep.settings(sweep.recipes[0], 1)
    assert (row.domains["a"].score, row.domains["a"].default_score) == (0.5, 0.4)
    assert row.domains["a"].selected.mean == pytest.approx(0.3 + 0.1 + 0.11)
    assert summary.seeds == (1, 2, 3)


def test_the_importance_is_the_rank_correlation_with_the_score():
    sweep = make_sweep(draws=10)

    def validation(run):
        return 0.5 - run.training.learning_rate

    find = finished(validation)
    space = summarize_sweep(sweep, advance(sweep, find), find).recipes["erm"].space
    assert space["learning_rate"].importance == -1
    assert abs(space["weight_decay"].importance) < 1


def test_the_settings_for_all_domains_have_the_best_mean_score():
    sweep = make_sweep()
    scores = {"a": (0.9, 0.8, 0.1), "b": (0.1, 0.8, 0.9), "c": (0.5, 0.6, 0.5)}
    find = finished(lambda run: scores[run.held_out[0]][number_of(run)])
    assert overall_best(sweep, advance(sweep, find), "erm") == 1


def test_the_page_has_gains_selected_settings_and_spaces():
    sweep = make_sweep()
    find = finished(lambda run: 0.1 * number_of(run), lambda run, part: 0.5 + 0.01 * run.seed)
    text = sweep_document(summarize_sweep(sweep, advance(sweep, find), find)).markdown(".")
    assert "| erm | 52.0 ± 1.0 [49.5, 54.5] | 52.0 ± 1.0 [49.5, 54.5] | +0.0 ± 0.0 [+0.0, +0.0] |" in text
    assert f"learning_rate {sweep.settings(sweep.recipes[0], 2)['learning_rate']:.4g}" in text
    assert "| learning_rate | scaled(0.2, 6.3) | 0.02 |" in text


# Whole sweeps


SMALL = ("--image-size", 16, "--epochs", 2, "--backbone", "resnet8", "--freeze", "--draws", 3, "--seeds", 2)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("sweep") / "photos", ("day", "dusk", "night"))


def small(places, out):
    return ["sweep", "--data", places, *SMALL, "--recipes", "erm", "irm", "--out", out]


def test_a_sweep_writes_its_summary_records_and_page_and_goes_on_after_a_kill(places, afield, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    dry = afield(*small(places, whole), "--dry-run")
    assert "30 of 30 runs are left" in dry[1]
    assert "12 more runs depend on their results" in dry[1]
    assert not whole.exists()
    code, printed, err = afield(*small(places, whole))
    assert code == 0, err
    assert "42 runs, about" in err
    assert "to train on all domains: --recipe irm" in printed
    summary = read_sweep(whole)
    records = read_records(whole)
    assert len({record.run for record in records}) == len(records) == len(list((whole / "runs").iterdir()))
    for name, row in summary.recipes.items():
        for part, found in row.domains.items():
            values = {
                record.recipe: max(epoch.validation["accuracy"] for epoch in record.epochs)
                for record in records
                if record.recipe.partition("#")[0] == name and record.held_out == (part,) and record.seed == 0
            }
            assert len(values) == 3
            assert found.score == max(values.values())
    assert "Gain over the defaults" in (whole / "report.html").read_text()
    for at in (30, 90):
        end = command(tmp_path, *small(places, killed), watched="killed/runs", at=at)
        assert end.killed, end.said
    end = command(tmp_path, *small(places, killed))
    assert end.code == 0, end.said
    assert (killed / "sweep.json").read_text() == (whole / "sweep.json").read_text()
    before = (whole / "report.html").read_text()
    (whole / "report.html").unlink()
    assert afield("report", whole)[0] == 0
    assert (whole / "report.html").read_text() == before
    assert "has the results of another command" in refused(afield, "compare", "--data", places, "--out", whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--draws", 0), "--draws must be a whole number between 1 and 1000, got 0"),
        (("--halvings", 2, "--draws", 3), "--halvings 2 needs at least --draws 4, got 3"),
        (("--search", "learning_rat=fixed"), "did you mean 'learning_rate'"),
        (("--selection", "validation"), "unknown selection rule 'validation'; did you mean 'train_validation'"),
        (("--search", "dropout=uniform(0, 2)"), "dropout must lie between 0 and 0.99, got"),
        (("--recipes", "t3a"), "adapts to unlabeled images"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(options, message, places, afield, tmp_path):
    told = refused(afield, "sweep", "--data", places, "--image-size", 16, *options, "--out", tmp_path / "out")
    assert message in told


def test_a_share_does_the_runs_that_are_known(places, afield, tmp_path):
    out = tmp_path / "out"
    first = ["sweep", "--data", places, "--image-size", 16, "--epochs", 1, "--backbone", "resnet8", "--freeze"]
    first += ["--draws", 2, "--seeds", 1, "--held-out", "day", "--out", out]
    script = out / "slurm.sh"
    assert str(script) in afield(*first, "--launcher", "slurm")[1]
    assert "#SBATCH --array=1-3\n" in script.read_text()
    assert "-m afield sweep " in script.read_text()
    assert "3 runs of this share are done" in afield(*first, "--share", "1/1")[1]
    assert len(list((out / "runs").iterdir())) == 3
    summary = package.sweep(
        data=str(places),
        image_size=16,
        epochs=1,
        backbone="resnet8",
        freeze=True,
        draws=2,
        seeds=1,
        held_out=("day",),
        out=out,
    )
    assert json.loads((out / "sweep.json").read_text())["draws"] == summary.draws == 2


def test_the_declared_ranges_contain_the_defaults():
    for settings in space_of("irm", "vrex", "groupdro", "rsc", "sd", "mldg", "coral", "arcface", "flattening").values():
        for name, each in settings.items():
            if isinstance(each.distribution, LogUniform | Uniform):
                assert each.distribution.low <= each.default <= each.distribution.high, name
