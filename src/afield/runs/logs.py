"""The callback that writes the metrics of each epoch to the logs of other tools."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from afield.errors import first_line
from afield.fabric import Logger
from afield.records import Epoch, Record
from afield.runs.callback import Callback
from afield.runs.log_formats import LOG_FORMATS, LogFormat
from afield.runs.run import Run
from afield.training import EpochReport

LOGS = "logs"
"""The folder of all logs in a run folder."""


class LogCallback(Callback):
    """Writes a log of each run, with the epochs of its record, as steps from 1.

    A resumed run has one log of all its epochs. A run that was finished before gets a log if it has none. A log that
    cannot be written does not end the training: a warning is issued, and this format is not written any more.

    Args:
        out: run folder of the command; logs are written to ``logs``.
        names: names of `LOG_FORMATS`.
    """

    def __init__(self, out: Path, names: Sequence[str]) -> None:
        self.formats = {name: LOG_FORMATS[name](out / LOGS) for name in dict.fromkeys(names)}
        self.opened: dict[tuple[str, str], Logger] = {}

    def run_epoch(self, run: Run, folder: Path, report: EpochReport) -> None:
        """Log an epoch; the first time, also those before it."""
        self._each(lambda name, log: self._log(name, log, run, report.history))

    def run_end(self, run: Run, folder: Path, record: Record) -> None:
        """End the logs of a run. If there is none, all epochs are logged now."""

        def end(name: str, log: LogFormat) -> None:
            if (name, run.hash) not in self.opened:
                if log.exists(run):
                    return
                self._log(name, log, run, record.epochs)
            log.close(self.opened.pop((name, run.hash)))

        self._each(end)

    def _log(self, name: str, log: LogFormat, run: Run, epochs: Sequence[Epoch]) -> None:
        new = (name, run.hash) not in self.opened
        if new:
            self.opened[name, run.hash] = log.open(run)
        logger = self.opened[name, run.hash]
        with log.writing():
            for step, epoch in list(enumerate(epochs, start=1))[0 if new else -1 :]:
                logger.log_metrics(named_figures(epoch), step)
            logger.save()

    def _each(self, act: Callable[[str, LogFormat], None]) -> None:
        for name, log in list(self.formats.items()):
            try:
                act(name, log)
            except Exception as error:  # whatever the other tool raises, such as a server that does not answer
                warnings.warn(f"--log {name} failed and is left out from now on: {first_line(error)}", stacklevel=2)
                del self.formats[name]


def named_figures(epoch: Epoch) -> dict[str, float]:
    """The metrics of an epoch as ``train/loss``, ``train/TERM``, ``validation/METRIC`` and ``test/PART/METRIC``."""
    found = {} if epoch.train_loss is None else {"train/loss": epoch.train_loss}
    found |= {f"train/{name}": value for name, value in epoch.train_terms.items()}
    found |= {f"validation/{name}": value for name, value in epoch.validation.items()}
    return found | {f"test/{part}/{name}": v for part, figures in epoch.test.items() for name, v in figures.items()}
