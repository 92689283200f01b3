"""Options of what is written during training besides records: logs of other tools, and checkpoints to keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from afield.validation import check_number

if TYPE_CHECKING:
    from afield.runs.callback import Callback


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """What is written during training besides records. It does not change the results.

    Attributes:
        log: Formats in which the metrics of each epoch are also written, to logs/ in the run folder: csv, tensorboard,
            mlflow or wandb (offline). Nothing is sent, unless MLFLOW_TRACKING_URI or WANDB_MODE=online asks for it.
        keep_checkpoints: Number of epochs of each run whose weights are kept, the best ones on validation images; -1
            keeps all.
    """

    log: tuple[Literal["csv", "tensorboard", "mlflow", "wandb"], ...] = ()
    keep_checkpoints: int = 0

    def check_tracking(self) -> None:
        """Raise `InputError` if a package for a log is missing, or the number of checkpoints is out of range."""
        from afield.runs.log_formats import check_format

        check_number("--keep-checkpoints", self.keep_checkpoints, -1, 100_000, whole=True)
        for name in self.log:
            check_format(name)

    def with_tracking(self, callback: Callback, out: Path) -> Callback:
        """The callback together with those that write logs and checkpoints of the runs in a run folder."""
        from afield.runs.callback import Together
        from afield.runs.kept_checkpoints import KeepCheckpoints
        from afield.runs.logs import LogCallback

        logs = [LogCallback(out, self.log)] if self.log else []
        kept = [KeepCheckpoints(self.keep_checkpoints)] if self.keep_checkpoints else []
        return Together(callback, *logs, *kept) if logs or kept else callback
