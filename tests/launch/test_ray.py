"""Runs on a Ray cluster of local nodes: the summary of one process, whichever node or driver dies."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.small_compare import finish, start

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


def wait_for(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    while process.poll() is None and len(landed(out)) < count:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1].decode()


@needs_ray
def test_a_cluster_gives_the_summary_of_one_process_and_does_nothing_twice(alone, cluster, tmp_path):
    out = tmp_path / "out"
    assert finish(out, *on(cluster)) == alone
    before = landed(out)
    assert len(before) == 8
    assert finish(out, *on(cluster)) == alone
    assert landed(out) == before
    assert (out / "report.html").stat().st_size > 10_000


@needs_ray
def test_recipes_that_adapt_give_the_summary_of_one_process(cluster, tmp_path):
    adapting = ("--recipes", "mcd", "erm+standardize+t3a", "--adapt-fraction", "0.5")
    assert finish(tmp_path / "ray", *adapting, *on(cluster)) == finish(tmp_path / "alone", *adapting)


@needs_ray
def test_a_node_that_is_lost_leaves_its_runs_to_the_others(alone, cluster, tmp_path):
    out = tmp_path / "out"
    doomed = add_node(cluster, num_cpus=1)
    process = start(out, *on(cluster))
    wait_for(process, out, 1)
    cluster.remove_node(doomed, allow_graceful=False)
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    assert (out / "summary.json").read_text() == alone
    assert len(landed(out)) == 8


@needs_ray
def test_a_driver_that_is_killed_leaves_what_has_landed_and_the_command_goes_on(alone, cluster, tmp_path):
    out = tmp_path / "out"
    process = start(out, *on(cluster))
    wait_for(process, out, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = landed(out)
    assert 2 <= len(before) < 8
    assert not (out / "summary.json").exists()
    assert finish(out, *on(cluster)) == alone
    assert {path: landed(out)[path] for path in before} == before


@needs_ray
def test_features_of_a_frozen_backbone_go_out_with_the_runs(cluster, tmp_path):
    summaries = [finish(tmp_path / name, "--freeze", *how) for name, how in (("one", ()), ("ray", on(cluster)))]
    assert summaries[0] == summaries[1]


@needs_ray
def test_what_is_wrong_with_a_run_is_said_here_in_one_line(cluster, tmp_path):
    process = start(tmp_path / "out", "--learning-rate", "900", *on(cluster))
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.decode().splitlines()[-1].startswith("afield: the loss of ")


@needs_ray
def test_a_run_that_no_node_has_room_for_is_refused(cluster, tmp_path):
    process = start(tmp_path / "out", "--threads", "64", *on(cluster))
    _, err = process.communicate()
    assert process.returncode == 2
    assert "afield: --threads 64: no node of the Ray cluster has more than 1 CPUs\n" in err.decode()


@needs_ray
def test_where_no_cluster_is_the_command_stops_at_once(afield, tmp_path):
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
