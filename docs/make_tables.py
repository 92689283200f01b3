"""Make the tables of README and docs from registries and committed records; ``--check`` says if any is stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from afield.catalogue import REGISTRIES
from afield.experiments.papers import PAPERS
from afield.experiments.papers.paper import document

ROOT = Path(__file__).parent.parent
PACS_IMAGES = 9991


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def registry_table(kind: str) -> str:
    """Name, summary and reference of each entry of a registry."""
    rows = [(f"`{entry.name}`", entry.summary, entry.reference) for entry in REGISTRIES[kind]]
    return table(("name", "what it is", "reference"), rows)


def between(text: str, mark: str, content: str) -> str:
    """Put content between ``<!-- mark: ... -->`` and ``<!-- /mark -->``."""
    start = text.index("-->", text.index(f"<!-- {mark}:")) + 4
    return text[:start] + content + text[text.index(f"<!-- /{mark} -->") :]


def interval(value: dict[str, Any], sign: str = "") -> str:
    """``71.9 ± 0.5 [70.2, 73.6]``: mean, sample deviation, 95 % interval, as percentages."""
    deviation = f" ± {100 * value['sd']:.1f}" if value.get("sd") is not None else ""
    span = ", ".join(f"{100 * end:{sign}.1f}" for end in value["ci95"])
    return f"{100 * value['mean']:{sign}.1f}{deviation} [{span}]"


def result_section(folder: Path) -> str:
    """One comparison: what was run, the table, where it was run."""
    about = json.loads((folder / "about.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    domains = list(next(iter(summary["recipes"].values()))["domains"])
    rows = [
        (
            f"**{name}**" if name == summary["recommended"] else name,
            *(interval(row["domains"][domain]) for domain in domains),
            interval(row["average"]),
            interval(row["vs_erm"], "+") if row["vs_erm"] and name != "erm" else "",
        )
        for name, row in summary["recipes"].items()
    ]
    first = records[0]
    config, hardware, versions = first["config"], first["hardware"], first["versions"]
    training = config["training"]
    commits = ", ".join(sorted({str(record["commit"]) for record in records}))
    seconds = sum(record["duration_s"] for record in records)
    return "\n".join(
        [
            f"## {about['title']}",
            "",
            about["note"],
            "",
            f"```sh\n{about['command']}\n```",
            "",
            "Accuracy on unseen domains in %: mean ± sample deviation [95 % interval], "
            f"n = {len(summary['seeds'])} seeds; selection: {summary['selection']}; "
            "the last column is paired over seeds.",
            "",
            table(("recipe", *domains, "average", "vs erm"), rows),
            f"Recommendation: {summary['reason']}.",
            "",
            f"{len(records)} runs, {seconds:.0f} s of training on {hardware['cores']} cores of {hardware['cpu']}"
            f"{' and ' + hardware['gpu'] if hardware['gpu'] else ''}; {config['data']['image_size']} px; "
            f"{config['backbone']['name']}, weights {config['backbone']['weights']}, "
            f"{'frozen' if config['backbone']['freeze'] else 'trained'}; {training['epochs']} epochs of "
            f"{training['optimizer']} at {training['learning_rate']:g} ({training['schedule']}), batch "
            f"{training['batch_size']}; torch {versions['torch']}, timm {versions['timm']}, "
            f"Python {versions['python']}; commit {commits}. "
            f"Records: `results/{folder.name}/`; [the whole page](../results/{folder.name}/report.html).",
            "",
        ]
    )


def results_page() -> str:
    """All committed comparisons."""
    sections = [result_section(path.parent) for path in sorted((ROOT / "results").glob("*/about.json"))]
    head = (
        "# Results\n\nMade by `docs/make_tables.py` from the records under `results/`. "
        "The papers, table by table: [reproduction.md](reproduction.md).\n\n"
    )
    return head + "\n".join(sections)


def study(name: str) -> dict[str, Any]:
    """The summary of a study under ``results/``."""
    summary: dict[str, Any] = json.loads((ROOT / "results" / name / "summary.json").read_text())
    return summary


def confirmation_table(rows: Sequence[dict[str, Any]]) -> str:
    """The default head at each margin beside cross-entropy: top-1 and mAP, and both paired with cross-entropy."""
    lines = [
        (
            "CIFAR-10" if row["data"] == "cifar10" else "CIFAR-100",
            "cross-entropy" if row["head"] == "linear" else f"ArcFace, {row['margin']:g} rad",
            *(interval(row[metric]) for metric in ("accuracy", "map")),
            *(
                "" if row["head"] == "linear" else interval(row[f"{metric}_vs_ce"], "+")
                for metric in ("accuracy", "map")
            ),
        )
        for row in sorted(rows, key=lambda row: len(row["data"]))
    ]
    return table(("data", "objective", "top-1", "mAP", "top-1 vs CE", "mAP vs CE"), lines)


def grid_table(rows: Sequence[dict[str, Any]]) -> str:
    """Top-1 of each setting: scale and margin down, gradient form, warm-up and neck across."""
    columns = [(g, w, n) for n in (False, True) for g in ("straight_through", "exact") for w in (False, True)]
    cells = {
        (row["scale"], row["margin"], row["gradient"], row["warmup"], row["neck"]): row
        for row in rows
        if row["head"] == "arcface"
    }
    header = [
        f"{gradient.replace('_', '-')}{', warm-up' if warmup else ''}{', neck' if neck else ''}"
        for gradient, warmup, neck in columns
    ]
    lines = []
    for scale, margin in dict.fromkeys((row["scale"], row["margin"]) for row in cells.values()):
        found = [cells.get((scale, margin, *column)) for column in columns]
        lines.append((scale, f"{margin:g}", *(grid_cell(row) if row else "" for row in found)))
    return table(("scale", "margin", *header), lines)


def grid_cell(row: dict[str, Any]) -> str:
    """Mean top-1 in %, bold above cross-entropy's, in italics below it, struck through where it fails."""
    mean = row["accuracy"]["mean"]
    low, high = row["accuracy_vs_ce"]["ci95"]
    text = f"{100 * mean:.1f}"
    if row["fails"]:
        return f"~~{text}~~"
    return f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text


def margins_page() -> str:
    """The studies of margin heads, and what they cost."""
    template = (ROOT / "docs" / "margins.md.in").read_text()
    rows = study("margin-reliability")["rows"]
    of = {name: [row for row in rows if row["study"] == name] for name in ("confirm", "grid")}
    plain = {(row["data"], row["recipe"]): row["accuracy"] for row in of["grid"] if row["head"] == "linear"}
    grids = "\n".join(
        f"{title}: cross-entropy {interval(plain[data, 'erm'])}, with the neck {interval(plain[data, 'erm+neck'])}.\n\n"
        + grid_table([row for row in of["grid"] if row["data"] == data])
        for title, data in (("CIFAR-10", "cifar10"), ("CIFAR-100", "cifar100"))
    )
    thousand = study("thousand-classes")["recipes"]
    epochs = range(1, len(next(iter(thousand.values()))["curve"]), 2)
    curves = table(
        ("objective", *(f"epoch {epoch + 1}" for epoch in epochs), "last: mean ± sd [95 %]", "vs cross-entropy"),
        [
            (
                name,
                *(f"{100 * row['curve'][epoch]:.1f}" for epoch in epochs),
                interval(row["accuracy"]),
                "" if name == "cross-entropy" else interval(row["vs_cross_entropy"], "+"),
            )
            for name, row in thousand.items()
        ],
    )
    costs = json.loads((ROOT / "results" / "objectives.json").read_text())
    heads = table(
        ("head and loss", *(f"K = {int(classes):,}" for classes in costs["heads"])),
        [
            (name, *(f"{row[name]['time']:.2f} / {row[name]['memory']:.2f}" for row in costs["heads"].values()))
            for name in next(iter(costs["heads"].values()))
        ],
    )
    sampled = costs["sampled"]
    parts = {
        "confirm": confirmation_table(of["confirm"]),
        "grid": grids,
        "thousand": curves,
        "costs": heads,
        "flattening": " and ".join(f"{row['time']:.2f}" for row in costs["flattening"].values()),
        "million": f"{sampled['seconds_per_step']:.2f} s and {sampled['peak_rss_gib']:.1f} GiB in all",
    }
    for mark, text in parts.items():
        template = template.replace(f"{{{{{mark}}}}}", text.rstrip())
    return template


def augmentation_page() -> str:
    """The study of learned augmentation: each arm beside the baseline and its rivals, and what it measured."""
    template = (ROOT / "docs" / "augmentation.md.in").read_text()
    rows = study("learned-augmentation")["rows"]

    def plain(row: dict[str, Any], name: str, digits: int, sign: str = "", factor: float = 1) -> str:
        return f"{factor * row[name]['mean']:{sign}.{digits}f}" if name in row else ""

    def against(row: dict[str, Any], rival: str) -> str:
        """The paired difference in points; without an interval where there is a single seed."""
        found = row.get(f"vs {rival}")
        return "" if found is None or row["arm"] == rival else interval(found, "+")

    accuracy = [
        (
            f"**{row['arm']}**" if row["arm"] == "default" else row["arm"],
            str(row["accuracy"]["n"]),
            interval(row["accuracy"]),
            *(against(row, rival) for rival in ("none", "random affine, matched", "trivialaugment")),
            plain(row, "search_cpu_s", 0),
            plain(row, "tuning_cpu_s", 0),
        )
        for row in rows
    ]
    measures = [
        (
            f"**{row['arm']}**" if row["arm"] == "default" else row["arm"],
            *(plain(row, name, 3) for name in ("distance", "image_spread", "draw_spread")),
            plain(row, "entropy_gain", 2, "+"),
            plain(row, "kept", 0, "", 100),
            plain(row, "discriminator_accuracy", 0, "", 100),
            ", ".join(f"{name} ({count} of {row['accuracy']['n']})" for name, count in row["collapses"].items())
            or "none",
        )
        for row in rows
        if "collapses" in row
    ]
    cost = json.loads((ROOT / "results" / "augment.json").read_text())["learned"]
    policy = [
        (
            f"`{row['augment']}`",
            str(row["accuracy"]["n"]),
            interval(row["accuracy"]),
            *(interval(row["over"][plain], "+") if plain in row["over"] else "" for plain in ("none", "crop_flip")),
            f"{row['search_s']:.0f}",
        )
        for row in study("fast-autoaugment")["rows"]
    ]
    parts = {
        "accuracy": table(
            ("augmentation", "n", "accuracy", "vs none", "vs matched", "vs TrivialAugment", "search, s", "training, s"),
            accuracy,
        ),
        "measures": table(
            ("augmentor", "distance", "over images", "over draws", "gain, bits", "kept, %", "D right, %", "collapse"),
            measures,
        ),
        "cost": f"{100 * cost['ratio']:.1f} %",
        "policy": table(("augmentation", "n", "accuracy", "vs none", "vs crop_flip", "search, s"), policy),
    }
    for mark, text in parts.items():
        template = template.replace(f"{{{{{mark}}}}}", text.rstrip())
    return template


def reproduction_page() -> str:
    """Every committed reproduction of a paper, made anew from its records."""
    sections = [(ROOT / "docs" / "reproduction.md.in").read_text()]
    for name, paper in PAPERS.items():
        folders = sorted(
            path.parent
            for path in (ROOT / "results").glob("reproduce-*/summary.json")
            if json.loads(path.read_text())["paper"] == name
        )
        for folder in folders:
            lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
            page = document(paper, lines, json.loads((folder / "summary.json").read_text()))
            sections.append(page.markdown(f"../results/{folder.name}"))
        if not folders:
            sections.append(f"## {paper.title}\n\nNot run yet: `afield reproduce {name} --size small --jobs 2`.\n")
    return "\n".join(sections)


def size_of(count: float) -> str:
    """Bytes for people: ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def time_of(seconds: float) -> str:
    """A time for people: ``3.2 h``."""
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 86_400:.3g} days"


def scaling_page() -> str:
    """What an image, a class, a run and a process cost, and what larger runs would need."""
    template = (ROOT / "docs" / "scaling.md.in").read_text()
    found = {
        name: json.loads((ROOT / "results" / f"{name}.json").read_text())
        for name in ("scaling", "data", "jobs", "loop")
    }
    costs, data, hardware = found["scaling"], found["data"], found["scaling"]["hardware"]
    names = {"image": "image", "class": "class", "class, a tenth seen": "class, Partial FC"}
    fitted = [
        (
            name,
            f"{costs[key]['sizes'][0]:,} to {costs[key]['sizes'][-1]:,}",
            f"{1e6 * costs[key]['each_s']:.3g}",
            f"{1e3 * costs[key]['fixed_s']:.3g}",
            f"{100 * costs[key]['worst']:.0f} %",
        )
        for key, name in names.items()
    ]
    rows = [
        (
            name,
            *(f"{data[name]['images_per_second'][who]:,.0f}" for who in ("afield", "torchvision")),
            f"{data[name]['ratio']:.1f}",
            *(f"{data[name]['memory_MB'][who]:,.0f}" for who in ("afield", "torchvision")),
            f"{data[name]['decode_once_s']:.1f}",
        )
        for name in data
        if " px" in name
    ]
    jobs = [
        (f"`{name}`", f"{found['jobs']['seconds'][name]:.0f}", f"{speed:.2f}")
        for name, speed in found["jobs"]["speed"].items()
    ]
    decoding = data["224 px"]["decode_once_s"] / PACS_IMAGES
    larger = [
        (
            name,
            f"{count:,}",
            size_of(count * 3 * side**2),
            time_of(count * decoding),
            time_of(count * costs["image"]["each_s"]),
            f"{max(1, round(90 * count * costs['image']['each_s'] / 86_400)):,}",
        )
        for name, count, side in (
            ("ImageNet-1k, 64 px", 1_281_167, 64),
            ("ImageNet-1k, 224 px", 1_281_167, 224),
            ("100 million, 64 px", 10**8, 64),
            ("100 million, 224 px", 10**8, 224),
        )
    ]
    parts = {
        "hardware": f"{hardware['cpu']}, {hardware['cores']} cores",
        "costs": table(("of", "measured from", "each, µs", "fixed, ms", "worst"), fitted),
        "run_bytes": size_of(costs["run_bytes"]),
        "bytes_an_image": size_of(costs["bytes_an_image"]),
        "process_start_s": f"{costs['process_start_s']:.1f}",
        "cores": str(data["cores"]),
        "data": table(("images", "afield", "torchvision", "ratio", "MB", "theirs, MB", "decoding, s"), rows),
        "jobs": table(("`afield compare` on the embedded default", "s", "times as fast"), jobs),
        "loop": " and ".join(f"{value:.2f} ({name})" for name, value in found["loop"]["time_over_bare"].items()),
        "larger": table(
            ("set and cache", "images", "bytes", "decoding, 2 cores", "an epoch, 1 core", "cores for 90 epochs a day"),
            larger,
        ),
    }
    for mark, text in parts.items():
        template = template.replace(f"{{{{{mark}}}}}", text.rstrip())
    return template


def algorithm_costs() -> str:
    """Seconds a step of each algorithm and averaging, relative to ERM."""
    found = json.loads((ROOT / "results" / "algorithms.json").read_text())["time_over_erm"]
    return table(("name", "times as long"), [(f"`{name}`", f"{ratio:.2f}") for name, ratio in found.items()])


def pages() -> dict[Path, str]:
    """Each file that holds something generated, as it should read."""
    readme, parts, algorithms = ROOT / "README.md", ROOT / "docs" / "parts.md", ROOT / "docs" / "algorithms.md"
    kinds = [kind for kind in REGISTRIES if kind != "recipes"]
    sections = [f"## {kind.capitalize()}\n\n{registry_table(kind)}" for kind in kinds]
    return {
        readme: between(readme.read_text(), "recipes", registry_table("recipes")),
        parts: "# Parts\n\nMade by `docs/make_tables.py` from the registries.\n\n" + "\n".join(sections),
        ROOT / "docs" / "results.md": results_page(),
        ROOT / "docs" / "reproduction.md": reproduction_page(),
        ROOT / "docs" / "margins.md": margins_page(),
        ROOT / "docs" / "augmentation.md": augmentation_page(),
        ROOT / "docs" / "scaling.md": scaling_page(),
        algorithms: between(algorithms.read_text(), "costs", algorithm_costs()),
    }


def main() -> None:
    """Write the pages, or check them."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(path.name for path in stale)}; run python docs/make_tables.py" if stale else 0)
    for path in stale:
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
