"""``afield forecast``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afield.commands.place_options import PlaceOptions

if TYPE_CHECKING:
    from afield.deploy.forecast import Expected


@dataclass(frozen=True, kw_only=True)
class Forecast(PlaceOptions):
    """Forecast the accuracy of a trained model in a new place from images without labels.

    Attributes:
        out: Folder for a page with the forecast and the most unusual images; by default, no page is written.
        json: Print the result as JSON.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield forecast runs/site-model --unlabeled new-site/ --out forecast/",)

    out: Path | None = None
    json: bool = False

    def run(self) -> Expected:
        """Forecast the accuracy with its interval, and find unusual images."""
        from afield.deploy import load
        from afield.deploy.forecast import forecast_place
        from afield.deploy.forecast_page import forecast_page

        model = load(self.model)
        with self.read() as (source, place):
            expected = forecast_place(model, place, source)
        if self.out is not None:
            forecast_page(expected, model).write(Path(self.out))
        return expected
