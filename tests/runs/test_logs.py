"""Logs in the formats of other tools and kept checkpoints, read back and compared with the records of the runs."""

from __future__ import annotations

import csv
import json
import os

import pytest
import torch
from safetensors.torch import load_file

import afield
from afield.commands import Compare
from afield.records import Epoch, read_records
from afield.runs.log_formats import LOG_FORMATS
from afield.runs.logs import LogCallback, named_figures
from afield.training import checkpoint, loop
from tests.command_line import refused

OPTIONS = {"image_size": 16, "epochs": 3, "recipes": ("erm",), "seeds": 1}


def words(folder, photos, *more):
    return ("compare", "--data", photos, "--image-size", 16, "--epochs", 3, "--recipes", "erm", "--seeds", 1,
            "--out", folder, *more)  # fmt: skip


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A comparison with all local logs: its folder, and its two records."""
    from tests.conftest import write_photos

    folder = tmp_path_factory.mktemp("logged")
    data = str(write_photos(folder / "photos"))
    for package in ("tensorboard", "mlflow"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    afield.compare(data=data, out=folder / "out", log=("csv", "tensorboard", "mlflow"), keep_checkpoints=2, **OPTIONS)
    records = read_records(folder / "out")
    assert [record.unseen for record in records] == ["day", "night"]
    return folder / "out", records


def expected(record):
    """Metric -> values by epoch."""
    rows = [named_figures(epoch) for epoch in record.epochs]
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_figures_are_named_by_part():
    epoch = Epoch(0.5, {"accuracy": 0.75}, {"night": {"accuracy": 0.25}}, {"objective": 0.4, "distance": 0.1})
    assert named_figures(epoch) == {
        "train/loss": 0.5, "train/objective": 0.4, "train/distance": 0.1, "validation/accuracy": 0.75,
        "test/night/accuracy": 0.25,
    }  # fmt: skip


def test_csv_has_a_row_for_each_epoch(logged):
    out, records = logged
    for record in records:
        folder = out / "logs" / "csv" / f"erm-without-{record.unseen}-seed-0-{record.run[:8]}"
        with open(folder / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        assert [row["step"] for row in rows] == ["1", "2", "3"]
        assert {name: [float(row[name]) for row in rows] for name in rows[0] if name != "step"} == expected(record)


def test_tensorboard_reads_the_metrics_and_settings_of_each_run(logged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out, records = logged
    assert len(list((out / "logs" / "tensorboard").iterdir())) == 2
    for record in records:
        folder = out / "logs" / "tensorboard" / f"erm-without-{record.unseen}-seed-0-{record.run[:8]}"
        events = EventAccumulator(str(folder)).Reload()
        values = expected(record)
        assert set(events.Tags()["scalars"]) == set(values)
        for name, found in values.items():
            assert [event.step for event in events.Scalars(name)] == [1, 2, 3]
            assert [event.value for event in events.Scalars(name)] == pytest.approx(found, abs=1e-7)


def test_mlflow_reads_the_metrics_and_settings_of_each_run(logged):
    from mlflow.tracking import MlflowClient

    out, records = logged
    client = MlflowClient(f"sqlite:///{out / 'logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("out")
    runs = {run.data.tags["afield.run"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {record.run for record in records}
    for record in records:
        run = runs[record.run]
        assert run.info.status == "FINISHED"
        assert run.data.params["training/epochs"] == "3"
        assert run.data.tags["mlflow.runName"] == f"erm, without {record.unseen}, seed 0"
        for name, found in expected(record).items():
            history = client.get_metric_history(run.info.run_id, name)
            assert [(metric.step, metric.value) for metric in history] == list(enumerate(found, start=1))


def test_mlflow_sends_no_usage_statistics(logged):
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_the_best_checkpoints_are_kept(logged):
    out, records = logged
    for record in records:
        accuracies = [epoch.validation["accuracy"] for epoch in record.epochs]
        best = sorted(sorted(range(3), key=lambda index: -accuracies[index])[:2])
        files = sorted((out / "runs" / record.run / "checkpoints").iterdir())
        assert [file.name for file in files] == [f"epoch-000{index + 1}.safetensors" for index in best]
        assert checkpoint.load(files[0])[1]["validation"] == record.epochs[best[0]].validation


def test_a_model_is_the_best_of_all_kept_checkpoints(afield, photos, tmp_path):
    shared = ("--data", photos, "--image-size", 16, "--epochs", 3, "--recipe", "erm", "--out", tmp_path / "model")
    code, _, err = afield("train", *shared, "--keep-checkpoints", -1, "--log", "csv")
    assert code == 0, err
    files = sorted((tmp_path / "model" / "checkpoints").iterdir())
    assert len(files) == 3
    accuracies = [checkpoint.load(file)[1]["validation"]["accuracy"] for file in files]
    best = load_file(files[accuracies.index(max(accuracies))])
    model = load_file(tmp_path / "model" / "model.safetensors")
    shared_names = best.keys() & model.keys()
    assert len(shared_names) > 10
    assert all(torch.equal(best[name], model[name]) for name in shared_names)
    assert len(list((tmp_path / "model" / "logs" / "csv").iterdir())) == 1


def test_finished_runs_get_the_logs_that_are_missing_and_no_second_ones(afield, photos, tmp_path):
    assert afield(*words(tmp_path / "out", photos))[0] == 0
    assert afield(*words(tmp_path / "out", photos, "--log", "csv"))[0] == 0
    files = sorted(tmp_path.glob("out/logs/csv/*/metrics.csv"))
    assert [len(file.read_text().splitlines()) for file in files] == [4, 4]
    written = [file.stat().st_mtime_ns for file in files]
    assert afield(*words(tmp_path / "out", photos, "--log", "csv"))[0] == 0
    assert [file.stat().st_mtime_ns for file in files] == written


def test_a_resumed_run_has_one_log_of_all_epochs(afield, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    interrupted = LogCallback.run_epoch

    def interrupt(self, run, folder, report):
        interrupted(self, run, folder, report)
        if report.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(LogCallback, "run_epoch", interrupt)
    assert afield(*words(tmp_path / "out", photos, "--log", "csv"))[0] == 130
    (file,) = tmp_path.glob("out/logs/csv/*/metrics.csv")
    assert len(file.read_text().splitlines()) == 3
    monkeypatch.setattr(LogCallback, "run_epoch", interrupted)
    assert afield(*words(tmp_path / "out", photos, "--log", "csv"))[0] == 0
    with open(file) as lines:
        rows = list(csv.DictReader(lines))
    record = next(record for record in read_records(tmp_path / "out") if record.run[:8] in str(file.parent))
    assert [float(row["validation/nll"]) for row in rows] == [epoch.validation["nll"] for epoch in record.epochs]


def test_a_worker_logs_the_runs_that_it_trains(photos, tmp_path):
    """A worker of --jobs receives the command and calls `help`."""
    Compare(data=str(photos), out=tmp_path / "out", log=("csv",), **OPTIONS).help()
    files = list(tmp_path.glob("out/logs/csv/*/metrics.csv"))
    assert [len(file.read_text().splitlines()) for file in files] == [4, 4]


def test_a_log_that_fails_does_not_end_the_training(photos, tmp_path, monkeypatch):
    def fail(self, run):
        raise ConnectionError("the server does not answer\nsecond line")

    monkeypatch.setattr(LOG_FORMATS["csv"], "open", fail)
    with pytest.warns(UserWarning, match="--log csv failed and is left out from now on: the server does not answer$"):
        afield.compare(data=str(photos), out=tmp_path / "out", log=("csv",), **OPTIONS)
    assert len(read_records(tmp_path / "out")) == 2


def test_a_missing_package_is_named_before_images_are_read(afield, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tensorboard" else object())
    line = refused(afield, "train", "--data", "./nowhere", "--log", "tensorboard")
    assert line == "afield: --log tensorboard needs the package tensorboard: pip install 'afield[tensorboard]'"


def test_wandb_is_offline_unless_asked(photos, tmp_path, monkeypatch):
    """Values are stored as text in the file of an offline run."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    afield.compare(data=str(photos), out=tmp_path / "out", held_out=("day",), log=("wandb",), **OPTIONS)
    (record,) = read_records(tmp_path / "out")
    (file,) = tmp_path.glob(f"out/logs/wandb/offline-run-*-{record.run}/*.wandb")
    content = file.read_bytes()
    for epoch in record.epochs:
        assert json.dumps(epoch.validation["nll"]).encode() in content
    assert b"validation/nll" in content


def test_kept_checkpoints_do_not_travel_over_ray(afield):
    said = refused(afield, "compare", "--keep-checkpoints", 1, "--launcher", "ray")
    assert "--keep-checkpoints and --launcher ray are mutually exclusive" in said
    assert "--keep-checkpoints must be a whole number between -1 and 100000" in refused(
        afield, "train", "--keep-checkpoints", -2
    )
