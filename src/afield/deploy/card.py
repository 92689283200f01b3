"""The model card of a model folder: a README with the front matter of model hubs, from records alone."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from afield.deploy.saved_model import MODEL, Description, read_description
from afield.errors import InputError, unknown_name
from afield.evaluation import METRICS, first_best
from afield.records import Figures, Record, SummaryRow, read_compared, read_record, read_summary, write_atomic
from afield.runs.execute import RECORD

CARD = "README.md"
MARK = "<!-- model card, written by afield card -->"
"""A line of each card, by which an older one is recognized and replaced."""

LIMITS = """- The model gives every image one of its classes, also an image of none of them.
- Nothing is known about its accuracy beyond {known}.
  `afield evaluate` measures it on labeled images of a new place, and `afield forecast` estimates it without labels."""


def write_card(folder: Path, *, comparison: Path | None = None, license: str | None = None) -> Path:
    """Write ``README.md`` to a model folder. Every figure in it is in a record.

    Args:
        folder: folder of the model, written by ``afield train``.
        comparison: folder of a comparison of the same recipe on the same data, for the results on unseen domains.
        license: identifier of the license of the model; left out if it is not given.

    Raises:
        InputError: if a folder has no record, the comparison is of other data or lacks the recipe, or another
            ``README.md`` would be replaced.
    """
    path = folder / CARD
    description, record = read_description(folder / MODEL), read_record(folder / RECORD)
    name = folder.resolve().name
    text = card_text(name, name, description, record, comparison, license)
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace").splitlines():
        raise InputError(f"{path} is not a model card of afield and would be replaced; move it first")
    write_atomic(path, text.encode())
    return path


def card_text(
    name: str, address: str, model: Description, record: Record, comparison: Path | None, license: str | None
) -> str:
    """The card of a model with this name, which `afield.load` finds at this address; see `write_card`."""
    height, width = model.image_size, model.image_width or model.image_size
    data, classes = record.config["data"], model.class_names
    unseen, places = _unseen(record, comparison)
    metric = record.config.get("metric", "accuracy")
    epoch = first_best(metric, [each.validation for each in record.epochs])
    parts = [f"| {part} | {count:,} |" for part, count in record.images.items()]
    versions = ", ".join(f"{package} {version}" for package, version in record.versions.items() if version)
    blocks = [
        _front(license),
        f"# {name}",
        f"An image classifier for {len(classes)} classes, trained with [afield](https://github.com/afield/afield), "
        f"recipe `{record.recipe}`.",
        "## Intended use",
        f"Classification of images of these classes: {', '.join(classes)}. An image of any size is resized to "
        f"{height} x {width} pixels, without keeping its aspect ratio.",
        _usage(address),
        "## Data",
        f"Data set `{data['name']}`, fingerprint `{data['fingerprint']}`.{places}",
        _table(("part", "images"), parts),
        "## Results",
        *unseen,
        f"On the validation images, which come from the training domains, after epoch {epoch + 1} of "
        f"{len(record.epochs)}. They selected the epoch by {METRICS[metric].title}, so a new place is usually harder:",
        _table(("metric", "value"), _figures(record.epochs[epoch].validation)),
        "## Limits",
        LIMITS.format(known="the results above: they hold for images like those of the data set"),
        "## Training",
        _table(("setting", "value"), [f"| {key} | `{value}` |" for key, value in _settings(record)]),
        f"Versions: {versions}.",
    ]
    return "\n\n".join(blocks) + "\n"


def short_card(name: str, address: str, class_names: Sequence[str], license: str | None) -> str:
    """The card of a model without a record: an ensemble, or an adapted model."""
    blocks = [
        _front(license),
        f"# {name}",
        f"An image classifier for {len(class_names)} classes of [afield](https://github.com/afield/afield): "
        f"{', '.join(class_names)}.",
        _usage(address),
        "## Limits",
        LIMITS.format(known="that of the models that it comes from"),
    ]
    return "\n\n".join(blocks) + "\n"


def _front(license: str | None) -> str:
    """The front matter that model hubs read, and the mark of the card."""
    front: dict[str, Any] = {"license": license} if license else {}
    front |= {"library_name": "afield", "pipeline_tag": "image-classification", "tags": ["domain-generalization"]}
    return "\n".join(("---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", MARK))


def _usage(address: str) -> str:
    return f'```python\nimport afield\n\nafield.load({json.dumps(address)}).predict("photo.jpg")\n```'


def _unseen(record: Record, comparison: Path | None) -> tuple[list[str], str]:
    """Results on domains left out of training, and a sentence that names the domains."""
    if comparison is None:
        return ["The accuracy on domains left out of training was not measured; `afield compare` measures it."], ""
    summary, records = read_summary(comparison / "summary.json"), read_compared(comparison)
    if any(each.config["data"] != record.config["data"] for each in records):
        raise InputError(
            f"{comparison} is a comparison on other data than this model's {record.config['data']['name']}"
        )
    if record.recipe not in summary.recipes:
        unknown_name(f"recipe of {comparison}", record.recipe, summary.recipes)
    if any(each.config["recipe"] != record.config["recipe"] for each in records if each.recipe == record.recipe):
        raise InputError(f"{comparison} compared another recipe with the name {record.recipe}")
    row, metric = summary.recipes[record.recipe], METRICS[summary.metric]
    found = (
        f"On each domain, of models that were trained without it: {metric.title}{' in %' if metric.percent else ''}, "
    )
    found += "mean over seeds, with a 95 % interval over seeds. This is the measure of a new place:"
    names = ("domain left out", metric.title, "95 % interval", "seeds")
    return [found, _table(names, _domains(row, metric.text))], f" Domains: {', '.join(row.domains)}."


def _domains(row: SummaryRow, text: Any) -> Iterable[str]:
    for name, estimate in (*row.domains.items(), ("average", row.average)):
        interval = "–" if estimate.ci95 is None else f"{text(estimate.ci95[0])} to {text(estimate.ci95[1])}"
        yield f"| {name} | {text(estimate.mean)} | {interval} | {estimate.n} |"


def _figures(figures: Figures) -> list[str]:
    known = {METRICS[name]: value for name, value in figures.items() if name in METRICS.names}
    return [f"| {metric.title} | {metric.text(value)}{' %' * metric.percent} |" for metric, value in known.items()]


def _settings(record: Record) -> Iterable[tuple[str, Any]]:
    """The settings of the run, and where it ran."""
    for part in ("recipe", "backbone", "training", "tuning", "validation"):
        yield from _flat(part, record.config.get(part) or {})
    yield from {"seed": record.seed, "run": record.run, "commit": record.commit}.items()
    yield "duration in seconds", record.duration_s
    yield from _flat("hardware", record.hardware)


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Nested settings with dots in their names, without empty ones."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif value not in (None, "", ()):
        yield name, value


def _table(header: Sequence[str], rows: Iterable[str]) -> str:
    return "\n".join((f"| {' | '.join(header)} |", "|" + " --- |" * len(header), *rows))
