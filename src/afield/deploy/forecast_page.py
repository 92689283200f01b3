"""The page of a forecast: the expected accuracy, classes that are predicted more often, and unusual images."""

from html import escape

from afield.comparison.analysis import THUMBNAIL, thumbnail
from afield.deploy.forecast import Expected, sentences
from afield.deploy.model import Model
from afield.names import shown
from afield.reporting.document import Document, Figure, Section, Table
from afield.runs.provenance import provenance


def forecast_page(expected: Expected, model: Model) -> Document:
    """Create the page. Its figure contains the images."""
    chosen = expected.forecast.method
    rows = [(name + " (chosen)" * (name == chosen), f"{100 * value:.1f}") for name, value in expected.forecasts.items()]
    often = [(n, f"{100 * share:.1f}", f"{100 * prior:.1f}") for n, (share, prior) in expected.more_often.items()]
    classes = Table(
        "Classes that are predicted far more often than they occurred, %", ("class", "here", "before"), often
    )
    machine = provenance()
    return Document(
        title=f"Forecast: {expected.place}",
        lead=tuple(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences(expected)),
        sections=(
            Section("All forecasts", tables=(Table("Expected accuracy, %", ("method", "accuracy"), rows),)),
            *([Section("Classes", tables=(classes,))] if often else []),
            Section(
                "Most unusual images",
                (f"The most unusual one first: {', '.join(shown(path.name) for path in expected.unusual)}.",),
                figures=(
                    Figure("unusual", "Images that are most unlike all training domains", _images(expected, model)),
                ),
            ),
        ),
        provenance={
            "Images": f"{expected.images:,}",
            "Commit": machine["commit"] or "not a source checkout",
            "Model": ", ".join(f"{name} {model.config['backbone'][name]}" for name in ("name", "weights")),
        },
    )


def _images(expected: Expected, model: Model, columns: int = 6) -> str:
    """A grid of the unusual images as one SVG figure."""
    step, cells = THUMBNAIL + 8, []
    for index, path in enumerate(expected.unusual):
        place = f'x="{index % columns * step}" y="{index // columns * step}" width="{THUMBNAIL}" height="{THUMBNAIL}"'
        cells.append(
            f'<image {place} href="{thumbnail(model.pixels(path))}"><title>{escape(shown(str(path)))}</title></image>'
        )
    height = -(-len(expected.unusual) // columns) * step
    return f'<svg viewBox="0 0 {columns * step} {height}" role="img">{"".join(cells)}</svg>'
