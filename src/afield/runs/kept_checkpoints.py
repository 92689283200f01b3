"""The callback that keeps the weights of the best epochs of each run."""

from pathlib import Path

from afield.evaluation import METRICS, figure
from afield.runs.callback import Callback
from afield.runs.run import Run
from afield.training import EpochReport, checkpoint

KEPT = "checkpoints"
"""The folder of kept checkpoints in the folder of a run."""


class KeepCheckpoints(Callback):
    """Keeps ``checkpoints/epoch-0001.safetensors``, ... of the best epochs by the metric on validation images.

    A file contains the state dict of the evaluated classifier, and the validation metrics.

    Args:
        count: number of epochs to keep; -1 keeps all. Of equal epochs, the earlier one is better.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def run_epoch(self, run: Run, folder: Path, report: EpochReport) -> None:
        """Write the checkpoint of this epoch, and remove those that are not among the best any more."""
        sign, validation = METRICS[report.metric].sign, [epoch.validation for epoch in report.history]
        best = sorted(range(len(validation)), key=lambda index: -sign * figure(validation[index], report.metric))
        kept = best if self.count < 0 else best[: self.count]
        if (last := report.epoch - 1) in kept:
            checkpoint.save(
                kept_file(folder, last), report.classifier.state_dict(), {"validation": dict(validation[last])}
            )
        for index in set(best) - set(kept):
            kept_file(folder, index).unlink(missing_ok=True)


def kept_file(folder: Path, index: int) -> Path:
    """The checkpoint of an epoch, from 0, in the folder of a run."""
    return folder / KEPT / f"epoch-{index + 1:04d}.safetensors"
