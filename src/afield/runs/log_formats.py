"""Logs of a run in the formats of other tools, written through the loggers of Lightning."""

import importlib.util
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from afield.errors import InputError
from afield.fabric import CSVLogger, Logger, TensorBoardLogger
from afield.records import locked
from afield.runs.run import Run

TRACKING_URI = "MLFLOW_TRACKING_URI"


class LogFormat(ABC):
    """Logs of runs in one format, below a folder. A run has one log in each format.

    Attributes:
        packages: packages that it needs, besides those of afield.
    """

    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def exists(self, run: Run) -> bool:
        """Whether there is a log of this run."""

    @abstractmethod
    def open(self, run: Run) -> Logger:
        """Begin the log of a run. An earlier log of the run is removed."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Context in which the log is written. Several processes can write logs of different runs."""
        yield

    def close(self, logger: Logger) -> None:
        """End the log of a finished run."""
        logger.finalize("success")


class FolderFormat(LogFormat):
    """A folder for each run, with the name of `log_name`."""

    name: ClassVar[str]

    def exists(self, run: Run) -> bool:
        """See `LogFormat`."""
        return (self.folder / self.name / log_name(run)).exists()

    def remove(self, run: Run) -> None:
        """Remove the folder of a run."""
        shutil.rmtree(self.folder / self.name / log_name(run), ignore_errors=True)


class CSVFormat(FolderFormat):
    """``csv/RUN/metrics.csv`` with a row for each epoch."""

    name = "csv"

    def open(self, run: Run) -> Logger:
        """See `LogFormat`."""
        self.remove(run)
        return CSVLogger(self.folder, name=self.name, version=log_name(run), flush_logs_every_n_steps=1)


class TensorBoardFormat(FolderFormat):
    """Event files of TensorBoard in ``tensorboard/RUN``."""

    packages = ("tensorboard",)
    name = "tensorboard"

    def open(self, run: Run) -> Logger:
        """See `LogFormat`."""
        self.remove(run)
        logger = TensorBoardLogger(self.folder, name=self.name, version=log_name(run), default_hp_metric=False)
        logger.log_hyperparams(run.config)
        return logger


class MLflowFormat(LogFormat):
    """Runs of MLflow in ``mlflow.db``, or at ``MLFLOW_TRACKING_URI``. MLflow's own usage statistics are turned off."""

    packages = ("mlflow", "pytorch_lightning")
    tag = "afield.run"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        self.uri = os.environ.get(TRACKING_URI) or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        self.experiment = folder.absolute().parent.name

    def exists(self, run: Run) -> bool:
        """See `LogFormat`."""
        with self.writing():
            return bool(self._logged(run))

    def open(self, run: Run) -> Logger:
        """See `LogFormat`."""
        from pytorch_lightning.loggers import MLFlowLogger

        with self.writing():
            for logged in self._logged(run):
                self._client().delete_run(logged.info.run_id)
            tags = {self.tag: run.hash, "recipe": run.recipe.name, "seed": run.seed, "held_out": " ".join(run.held_out)}
            logger = MLFlowLogger(self.experiment, run_name=run.label, tracking_uri=self.uri, tags=tags)
            with _restored(TRACKING_URI):
                logger.log_hyperparams(run.config)
        return logger

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See `LogFormat`. One process at a time writes the file."""
        with locked(self.folder / ".mlflow.lock", InputError("the log of MLflow is in use"), wait=True):
            yield

    def close(self, logger: Logger) -> None:
        """See `LogFormat`."""
        with self.writing():
            logger.finalize("success")

    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri)

    def _logged(self, run: Run) -> list[Any]:
        """The runs of MLflow with the hash of this run. Creates the experiment if there is none."""
        client = self._client()
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            client.create_experiment(self.experiment, artifact_location=(self.folder / "mlflow").absolute().as_uri())
            return []
        return client.search_runs([experiment.experiment_id], f"tags.`{self.tag}` = '{run.hash}'")


class WandbFormat(LogFormat):
    """Offline runs of Weights & Biases in ``wandb``; ``WANDB_MODE=online`` sends them."""

    packages = ("wandb", "pytorch_lightning")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

    def exists(self, run: Run) -> bool:
        """See `LogFormat`."""
        return any(self._logged(run))

    def open(self, run: Run) -> Logger:
        """See `LogFormat`."""
        from pytorch_lightning.loggers import WandbLogger

        for earlier in self._logged(run):
            shutil.rmtree(earlier)
        self.folder.mkdir(parents=True, exist_ok=True)
        offline, project = os.environ.get("WANDB_MODE") != "online", self.folder.absolute().parent.name
        logger = WandbLogger(run.label, self.folder, run.hash, offline, project=project, group=run.recipe.name)
        logger.log_hyperparams(run.config)
        return logger

    def close(self, logger: Logger) -> None:
        """See `LogFormat`."""
        logger.experiment.finish()  # type: ignore[attr-defined]

    def _logged(self, run: Run) -> Iterator[Path]:
        return (self.folder / "wandb").glob(f"*run-*-{run.hash}")


LOG_FORMATS: Mapping[str, type[LogFormat]] = {
    "csv": CSVFormat,
    "tensorboard": TensorBoardFormat,
    "mlflow": MLflowFormat,
    "wandb": WandbFormat,
}
"""Formats by the names of ``--log``."""


@contextmanager
def _restored(variable: str) -> Iterator[None]:
    """Restore an environment variable after the block: MLflow sets that of its address for the whole process."""
    before = os.environ.get(variable)
    try:
        yield
    finally:
        os.environ.pop(variable, None)
        if before is not None:
            os.environ[variable] = before


def log_name(run: Run) -> str:
    """The name of the log of a run: its label and the beginning of its hash, as a name of a folder."""
    label = re.sub(r"[^\w+]+", "-", run.label)
    return f"{label}-{run.hash[:8]}"


def check_format(name: str) -> None:
    """Raise `InputError` if a package is missing that the format of this name needs."""
    missing = [package for package in LOG_FORMATS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(f"--log {name} needs the package {missing[0]}: pip install 'afield[{name}]'")
