"""Runs on a Ray cluster of local nodes: the summary of one process, whichever node or driver dies."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.small_compare import FAST, RECIPES, finish, start

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")


def add_node(cluster: Any, **settings: Any) -> Any:
    return cluster.add_node(node_ip_address="127.0.0.1", object_store_memory=100 * 2**20, **settings)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with one CPU each and a head with none, all on the loopback address."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # 127.0.0.1 stays 127.0.0.1
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        nodes = Cluster()
        add_node(nodes, num_cpus=0, include_dashboard=False)
        for _ in range(2):
            add_node(nodes, num_cpus=1)
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def connected(cluster: Any) -> Iterator[Any]:
    """The cluster, to which this process is connected. All commands in it share the workers, which start slowly."""
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return finish(tmp_path_factory.mktemp("alone") / "out")


def on(cluster: Any) -> tuple[str, ...]:
    return ("--launcher", "ray", "--ray-address", cluster.address)


def landed(out: Path) -> dict[Path, int]:
    """The records of finished runs, and when they were written."""
    return {
        done.parent / "record.json": (done.parent / "record.json").stat().st_mtime_ns
        for done in out.glob("runs/*/done")
    }


def wait_for(out: Path, count: int) -> None:
    deadline = time.monotonic() + 300
    while len(landed(out)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_ray
def test_a_cluster_gives_the_summary_of_one_process_and_does_nothing_twice(alone, connected, tmp_path):
    out = tmp_path / "out"
    assert finish(out, *on(connected)) == alone
    before = landed(out)
    assert len(before) == 8
    assert finish(out, *on(connected)) == alone
    assert landed(out) == before
    assert (out / "report.html").stat().st_size > 10_000


@needs_ray
@pytest.mark.parametrize(
    ("recipes", "arguments"),
    [
        (("mcd", "erm+standardize+t3a"), ("--adapt-fraction", "0.5")),
        (RECIPES, ("--backbone", "resnet8_ibn", "--freeze")),  # features of the frozen backbone go out with the runs
    ],
)
def test_other_comparisons_give_the_summary_of_one_process_too(connected, tmp_path, recipes, arguments):
    alone = finish(tmp_path / "alone", *arguments, recipes=recipes)
    assert finish(tmp_path / "ray", *arguments, *on(connected), recipes=recipes) == alone


@needs_ray
def test_what_is_wrong_with_a_run_is_said_here_in_one_line(connected, afield, tmp_path):
    code, _, err = afield("compare", "--out", tmp_path, *FAST, *RECIPES, "--learning-rate", "900", *on(connected))
    assert code == 2
    assert err.splitlines()[-1].startswith("afield: the loss of ")


@needs_ray
def test_a_run_that_no_node_has_room_for_is_refused(connected, afield, tmp_path):
    code, _, err = afield("compare", "--out", tmp_path, *FAST, *RECIPES, "--threads", "64", *on(connected))
    assert code == 2
    assert "afield: --threads 64: no node of the Ray cluster has more than 1 CPUs\n" in err


@needs_ray
def test_a_driver_that_is_killed_leaves_what_has_landed_and_the_command_goes_on(alone, connected, tmp_path):
    out = tmp_path / "out"
    process = start(out, *on(connected))
    wait_for(out, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = landed(out)
    assert 2 <= len(before) < 8
    assert not (out / "summary.json").exists()
    assert finish(out, *on(connected)) == alone
    assert {path: landed(out)[path] for path in before} == before


@needs_ray
def test_a_node_that_is_lost_leaves_its_runs_to_the_others(alone, connected, tmp_path):
    out, doomed = tmp_path / "out", add_node(connected, num_cpus=1)

    def lose() -> None:
        wait_for(out, 1)
        connected.remove_node(doomed, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    assert finish(out, *on(connected)) == alone
    thread.join()
    assert len(landed(out)) == 8


@needs_ray
def test_where_no_cluster_is_the_command_stops_at_once(afield, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    code, _, err = afield("compare", "--out", tmp_path / "out", "--launcher", "ray", "--ray-address", address)
    assert code == 2
    assert err.startswith(f"afield: --ray-address {address}: no Ray cluster at this address (")
    assert err.count("\n") == 1


def test_without_ray_the_message_says_what_to_install(afield, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = afield("compare", "--out", tmp_path / "out", "--launcher", "ray")
    assert (code, err) == (2, "afield: --launcher ray needs Ray: pip install 'afield[ray]'\n")
