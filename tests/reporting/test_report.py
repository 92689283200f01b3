"""The report: right numbers, nothing fetched, readable in a browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afield.comparison.summary import summarize
from afield.errors import InputError
from afield.printing import comparison_table
from afield.records import (
    Epoch,
    Estimate,
    Learned,
    Record,
    Selection,
    Summary,
    SummaryRow,
    read_records,
    read_summary,
    write_records,
    write_summary,
)
from afield.reporting import render
from afield.reporting.provenance import trained_layers
from tests.made_records import made_record
from tests.reporting.contrasts import CONTRASTS

PAPER, INK = "paper", "<b>ink</b> & wash"
CLASSES = ["cat", "dog", "a $5 _bird_ 鳥"]
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def record(recipe: str, part: str, seed: int, rule: str) -> Record:
    return made_record(
        recipe=recipe,
        held_out=(part,),
        seed=seed,
        selection=Selection(rule, 2),
        test={part: {"accuracy": 0.625, "map": 0.7}},
        epochs=(
            Epoch(1.5, {"accuracy": 0.5 + 0.1 * seed, "loss": 1.1}, {part: {"accuracy": 0.4, "map": 0.5}}),
            Epoch(0.5, {"accuracy": 0.9, "loss": 0.4}, {part: {"accuracy": 0.625, "map": 0.7}}),
        ),
        images={"train": 60, "validation": 6, f"test/{part}": 48},
        duration_s=40.25,
        config={
            "data": {"name": "pets", "image_size": 32},
            "backbone": {"name": "resnet8", "weights": "none", "freeze": False},
            "training": {"epochs": 2, "batch_size": 16, "augment": "crop"},
        },
        split_hash=f"{part}{seed}",
    )


def table(n: int) -> dict[str, SummaryRow]:
    def of(mean: float, low: float, high: float) -> Estimate:
        return Estimate(mean, 0.01, n, (low, high)) if n > 1 else Estimate(mean, None, n, None)

    return {
        "erm": SummaryRow(
            domains={PAPER: of(0.625, 0.561, 0.689), INK: of(0.4, 0.35, 0.45)},
            average=of(0.5125, 0.49, 0.535),
            vs_erm=of(0.0, 0.0, 0.0),
        ),
        "flattening": SummaryRow(
            domains={PAPER: of(0.71, 0.701, 0.7185), INK: of(0.5, 0.395, 1.05)},
            average=of(0.605, 0.59, 0.62),
            vs_erm=of(0.0925, -0.0111, 0.1961),
        ),
    }


def non_target(top: float) -> dict[str, list[float | None]]:
    return {"cat": [None, top, 0.02], "dog": [0.1, None, 0.1], CLASSES[2]: [0.05, 0.01, None]}


def compared(folder: Path, *, seeds: int = 2, rule: str = "train_validation", best: bool = True) -> Path:
    """A comparison's folder, as `run_comparison` leaves it."""
    records = [record(*run, rule) for run in runs(seeds)]
    summary = Summary(
        data="pets",
        selection=rule,
        metric="accuracy",
        seeds=tuple(range(seeds)),
        recipes=table(seeds),
        recommended="flattening" if best else None,
        reason="flattening is <far> from erm",
    )
    confusion = {PAPER: [[30, 10, 0], [0, 20, 0], [1, 1, 2]], INK: [[10, 10, 0], [0, 20, 0], [0, 0, 0]]}
    analysis = {
        "classes": CLASSES,
        "epoch": "best",
        "recipes": {
            "erm": {"confusion": confusion, "non_target": non_target(0.3)},
            "flattening": {"confusion": confusion, "non_target": non_target(0.2)},
        },
    }
    gallery = {
        "samples": {part: [{"image": PIXEL, "class": "cat"}] * 8 for part in (PAPER, INK)},
        "errors": {
            PAPER: [{"image": PIXEL, "path": "cat/<i>.png", "class": "cat", "predicted": "dog", "probability": 0.987}],
            INK: [],
        },
    }
    write_records(folder / "records.jsonl", records)
    write_summary(folder / "summary.json", summary)
    (folder / "analysis.json").write_text(json.dumps(analysis))
    (folder / "gallery.json").write_text(json.dumps(gallery))
    return folder


def test_all_metrics_and_the_results_of_each_class_are_shown(tmp_path: Path) -> None:
    folder = compared(tmp_path)
    assert "All metrics" not in page(folder)  # records of an earlier version
    metrics = {name: Estimate(0.25, 0.1, 3, (0.2, 0.3)).as_dict() for name in ("accuracy", "nll")}
    rows = json.loads((folder / "summary.json").read_text())["recipes"]
    change(folder / "summary.json", recipes={name: {**row, "metrics": metrics} for name, row in rows.items()})
    html = page(folder)
    assert "<td>25.0<small>[20.0, 30.0]</small></td> <td>0.250<small>[0.200, 0.300]</small></td>" in html
    # Cats: 40 of 60 are right, and 40 of 41 predictions; 30 of 40 on paper and 10 of 20 on ink.
    assert '<td>97.6</td> <td class="whole">66.7</td> <td>75.0</td> <td>50.0</td>' in html
    # The bird has no image on ink.
    assert '<td>100.0</td> <td class="whole">50.0</td> <td>50.0</td> <td>–</td>' in html


def test_the_difference_at_a_new_place_has_a_column_and_each_seed_a_dot(tmp_path: Path) -> None:
    folder = compared(tmp_path)
    assert "at a new place" not in page(folder)  # a summary of an earlier version
    rows = json.loads((folder / "summary.json").read_text())["recipes"]
    place = {"mean": 0.0925, "sd": 0.01, "n": 2, "ci95": None, "better_on": 2, "probability": 0.875, "seed_share": 0.5}
    change(folder / "summary.json", recipes={name: {**row, "at_new_place": place} for name, row in rows.items()})
    html = page(folder)
    assert "<td>+9.2<small>n = 2, no interval</small><small>better on 2 of 2, with 87.5&nbsp;%</small></td>" in html
    figure = html[html.index("Differences by domain") : html.index("Learning curves")]
    assert figure.count("<svg") == 1  # one recipe beside the baseline
    assert "a new place" in figure


def runs(seeds: int) -> list[tuple[str, str, int]]:
    return [(recipe, part, seed) for seed in range(seeds) for part in (PAPER, INK) for recipe in ("erm", "flattening")]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def page(folder: Path) -> str:
    """The rendered page with white space as a browser reads it."""
    return re.sub(r"\s+", " ", render(folder).read_text())


def test_table_holds_means_intervals_and_differences(tmp_path: Path) -> None:
    html = page(compared(tmp_path))
    assert "<td>62.5<small>[56.1, 68.9]</small></td>" in html
    assert "<td>50.0<small>[39.5, 105.0]</small></td>" in html
    assert '<td class="whole">60.5<small>[59.0, 62.0]</small></td>' in html
    assert "<td>+9.2<small>[−1.1, +19.6]</small></td>" in html
    assert "n = 2 seeds" in html
    assert "48 images" in html


def test_recommended_row_is_the_only_one_marked(tmp_path: Path) -> None:
    html = page(compared(tmp_path))
    rows = re.findall(r'<tr class="recommended">.*?</tr>', html)
    assert len(rows) == 1
    assert "flattening" in rows[0]
    assert "★ recommended" in rows[0]
    assert "Recommended: flattening" in html


def test_no_recommendation_is_said(tmp_path: Path) -> None:
    html = page(compared(tmp_path, best=False))
    assert "No recipe is recommended" in html
    assert "★" not in html
    assert "flattening (best average)" in html


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    html = page(compared(tmp_path, seeds=1, best=False))
    assert "<td>62.5<small>n = 1, no interval</small></td>" in html
    assert "<td>+9.2<small>n = 1, no interval</small></td>" in html


def test_without_erm_there_is_no_difference(tmp_path: Path) -> None:
    compared(tmp_path)
    recipes = {"flattening": dataclasses.replace(table(2)["flattening"], vs_erm=None)}
    summary = read_summary(tmp_path / "summary.json")
    write_summary(tmp_path / "summary.json", dataclasses.replace(summary, recipes=recipes))
    html = page(tmp_path)
    assert "vs. erm" not in html
    assert "<code>erm</code> was not run" in html


@pytest.mark.parametrize(
    ("rule", "label"), [("train_validation", "not used for selection"), ("oracle", "used for selection by the oracle")]
)
def test_oracle_is_labeled_and_no_other_rule(tmp_path: Path, rule: str, label: str) -> None:
    html = page(compared(tmp_path, rule=rule))
    assert ("Oracle: an upper bound, not a result" in html) == (rule == "oracle")
    assert f"unseen domain ({label})" in html


def test_names_are_escaped(tmp_path: Path) -> None:
    html = page(compared(tmp_path))
    assert "&lt;b&gt;ink&lt;/b&gt; &amp; wash" in html
    assert "cat/&lt;i&gt;.png" in html
    assert "&lt;far&gt;" in html
    assert not re.search(r"<b>ink|<i>\.png|<far>", html)


def test_confusion_is_pooled_over_domains(tmp_path: Path) -> None:
    html = page(compared(tmp_path))
    assert 'title="20 of 60">33</td>' in html
    assert 'class="right" style="--share: 0.500" title="2 of 4">50</td>' in html


def test_many_classes_are_listed_as_pairs(tmp_path: Path) -> None:
    compared(tmp_path)
    names = [f"class {i}" for i in range(100)]
    counts = [[9 if i == j else 0 for j in range(100)] for i in range(100)]
    counts[4][7] = 3
    wrong = {name: [None if name == other else 0.001 for other in names] for name in names}
    recipe = {"confusion": {PAPER: counts}, "non_target": wrong}
    change(tmp_path / "analysis.json", classes=names, recipes={"erm": recipe, "flattening": recipe})
    html = page(tmp_path)
    assert "class 4 → class 7 <small>25.0 % (3 of 12)</small>" in html
    assert 'class="heat"' not in html
    assert "11 more of 100 classes" in html


def test_the_class_of_the_likeliest_wrong_class_comes_first(tmp_path: Path) -> None:
    captions = re.findall(r"<figcaption>images of (.*?)</figcaption>", page(compared(tmp_path)))
    assert captions == ["cat", "dog", "a $5 _<wbr>bird_<wbr> 鳥"]


def test_of_more_recipes_than_colors_the_best_and_the_baseline_are_drawn(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "results" / "pacs-algorithms-frozen"
    for name in ("records.jsonl", "summary.json", "analysis.json"):
        shutil.copy(source / name, tmp_path / name)
    text = render(tmp_path).read_text()
    assert "10 of 14 recipes are shown: erm and the recipes with the best averages." in text
    key = re.search(r'<ul class="key">.*?</ul>', text, re.DOTALL)
    assert key is not None
    hues = re.findall(r'<i style="background: (#\w+)"></i>([\w+]+)</li>', key[0])
    assert len({hue for hue, _ in hues}) == len(hues) == 10
    recipes = json.loads((source / "summary.json").read_text())["recipes"]
    best = sorted(recipes, key=lambda name: recipes[name]["average"]["mean"], reverse=True)
    assert {name for _, name in hues} == {"erm", *[name for name in best if name != "erm"][:9]}


def test_without_a_gallery_the_page_shows_no_images(tmp_path: Path) -> None:
    folder = compared(tmp_path)
    assert "<img" in page(folder)
    (folder / "gallery.json").unlink()
    html = page(folder)
    assert "<img" not in html
    assert "Worst errors" not in html
    assert "62.5" in html


def test_worst_errors_and_provenance(tmp_path: Path) -> None:
    html = page(compared(tmp_path))
    assert "cat → dog, 98.7 %<small>cat/" in html
    assert "No errors." in html
    for fact in ("<dd>8</dd>", "5 min 22 s", "4 different splits", "0123456789ab", "cpu A &amp; B", "python 3.11.7"):
        assert fact in html


def with_learned(folder: Path) -> list[Record]:
    """The records of a comparison in which flattening learned its augmentation, in half of its epochs."""
    records = read_records(compared(folder))
    for index, each in enumerate(records):
        if each.recipe == "flattening":
            measures = {
                "distance": 0.25 + 0.1 * each.seed,
                "image_spread": 0.125,
                "draw_spread": 0.0625,
                "at_bound": 0.01,
                "entropy_before": 1.0,
                "entropy_after": 1.5,
                "recognized_before": 0.8,
                "recognized_after": 0.76,
            }
            collapses = {"one corner": "every <image> alike"} if each.seed else {}
            learned = Learned("learned", {}, 1, ({"validation": measures},), collapses, 10.0 + each.seed)
            records[index] = dataclasses.replace(each, epochs=each.epochs[1:], learned=learned)
    write_records(folder / "records.jsonl", records)
    return records


def test_learned_augmentation_has_a_section(tmp_path: Path) -> None:
    with_learned(tmp_path)
    html = page(tmp_path)
    row = re.search(r'<th scope="row">flattening<small>4 runs</small></th>(.*?)</tr>', html)
    assert row is not None
    cells = re.findall(r"<td>(.*?)</td>", row[1])
    assert cells == ["0.30", "0.125", "0.062", "+0.50 bits", "95.0 %", "1.0 %", "10.5"]
    assert "2 of 4 runs, one corner: every &lt;image&gt; alike." in html
    assert "curves start with the training on augmented images" in html
    (tmp_path / "plain").mkdir()
    assert "Learned augmentation" not in page(compared(tmp_path / "plain"))


def test_search_is_a_column_where_there_was_one(tmp_path: Path) -> None:
    records = with_learned(tmp_path)
    summary = summarize(records, "pets", "train_validation")
    assert summary.recipes["flattening"].search_s == 10.5
    assert summary.recipes["erm"].search_s is None
    write_summary(tmp_path / "summary.json", summary)
    html = page(tmp_path)
    assert 'search<small>seconds per run</small></th> </tr> </thead> <tbody> <tr> <th scope="row">erm' in html
    assert "<td>–</td> </tr>" in html
    assert "<td>10.5</td> </tr>" in html
    assert "search, s" in [column.header for column in comparison_table(summary).columns]
    plain = summarize([each for each in records if each.recipe == "erm"], "pets", "train_validation")
    assert "search, s" not in [column.header for column in comparison_table(plain).columns]


def test_versions_that_differ_between_runs_are_said(tmp_path: Path) -> None:
    first, *others = read_records(compared(tmp_path))
    assert summarize([first, *others], "pets", "train_validation").mixed == {}
    other = dataclasses.replace(first, versions={"python": "3.12.0", "afield": None}, commit="ffff")
    summary = summarize([other, *others], "pets", "train_validation")
    assert summary.mixed == {"python": ("3.11.7", "3.12.0"), "commit": ("0123456789ab", "ffff")}
    write_summary(tmp_path / "summary.json", summary)
    said = "the versions differ between runs: python 3.11.7 and 3.12.0; commit 0123456789ab and ffff."
    assert said in page(tmp_path)


def test_nothing_is_fetched_and_no_id_clashes(tmp_path: Path) -> None:
    html = page(compared(tmp_path))
    assert not re.search(r"https?://|@import|<script|<link", html)
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href)="([^"]*)', html))
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', html)) <= set(ids)


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first = render(compared(tmp_path)).read_bytes()
    assert render(tmp_path).read_bytes() == first


@pytest.mark.parametrize("name", ["records.jsonl", "summary.json", "analysis.json"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (compared(tmp_path) / name).unlink()
    with pytest.raises(InputError, match=re.escape(name)):
        render(tmp_path)


def test_torch_is_not_imported() -> None:
    code = "import sys, afield.reporting; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_browser_shows_the_page(tmp_path: Path, browser: Any) -> None:
    address = render(compared(tmp_path)).as_uri()
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    backgrounds = set()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(address)
        assert browser.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
        assert browser.execute_script(
            "document.querySelectorAll('details').forEach(each => each.open = true);"
            "const root = document.documentElement; return root.scrollWidth <= root.clientWidth"
        )
        assert min(browser.execute_script(CONTRASTS)) >= 4.5
        backgrounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        heights = browser.execute_script(
            "return [...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().height)"
        )
        assert len(heights) == 3 + 2 + 3
        assert min(heights) > 50
    assert len(backgrounds) == 2
    assert browser.get_log("browser") == []


def test_the_page_tells_what_is_left_to_the_model(tmp_path):
    compared(tmp_path)
    assert "What can be left to the model" not in render(tmp_path).read_text()
    analysis = json.loads((tmp_path / "analysis.json").read_text())
    for recipe, coverage in (("erm", 0.4321), ("flattening", 0.0)):
        left = {"coverage": coverage, "accuracy": 0.9753 if coverage else None, "risk": [0.01, 0.02, 0.1, 0.375]}
        analysis["recipes"][recipe]["review"] = {PAPER: left, INK: left}
    change(tmp_path / "analysis.json", **analysis)
    text = render(tmp_path).read_text()
    assert "<td>43.2<small>97.5</small></td>" in text
    assert "<td>0.0<small>–</small></td>" in text
    assert f'aria-label="{PAPER} unseen: errors by coverage"' in text.replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ({"freeze": True}, "frozen"),
        ({"freeze": True, "views": 2}, "frozen, with 2 stored views of each image"),
        ({"freeze": False}, "all layers trained"),
        ({"freeze": False, "partial": {"stage": "blocks.6"}}, "trained from blocks.6 on"),
        (
            {"freeze": False, "partial": {"stage": "blocks.6", "views": 3}},
            "trained from blocks.6 on, with 3 stored views of each image",
        ),
        (
            {"freeze": False, "partial": {"stage": "blocks.6"}, "views": 4},
            "trained from blocks.6 on, with 4 stored views of each image",
        ),
    ],
)
def test_the_trained_layers_are_named(backbone: dict[str, Any], expected: str) -> None:
    assert trained_layers(backbone) == expected
