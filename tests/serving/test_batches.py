"""Concurrent requests: batches, the queue, slow clients, and the end of the server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

import afield as package
from afield.serving.batches import Batcher
from tests import forks
from tests.command_line import refused

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("python_multipart", reason="python-multipart is not installed")


def image(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def test_images_that_wait_are_classified_together_and_each_gets_its_own_row():
    sizes, first = [], threading.Event()

    def classify(images):
        sizes.append(len(images))
        first.wait(5)
        return images[:, 0, 0, :1].astype(np.float32)

    async def requests():
        batcher = Batcher(classify, size=4)
        task = asyncio.create_task(batcher.run())
        one = asyncio.create_task(batcher.probabilities([image(1)]))
        await asyncio.sleep(0.05)  # its batch has begun
        others = [asyncio.create_task(batcher.probabilities([image(n), image(n + 1)])) for n in (10, 20, 30)]
        gone = asyncio.create_task(batcher.probabilities([image(99)]))
        await asyncio.sleep(0.01)
        gone.cancel()
        first.set()
        found = [rows.ravel().tolist() for rows in await asyncio.gather(one, *others)]
        task.cancel()
        return found

    assert asyncio.run(requests()) == [[1], [10, 11], [20, 21], [30, 31]]
    assert sizes == [1, 4, 2]


def test_an_error_reaches_the_requests_of_its_batch_and_the_next_batch_goes_on():
    calls = []

    def classify(images):
        calls.append(len(images))
        if len(calls) == 1:
            raise RuntimeError("no memory")
        return np.zeros((len(images), 2), np.float32)

    async def requests():
        batcher = Batcher(classify, size=4)
        task = asyncio.create_task(batcher.run())
        with pytest.raises(RuntimeError, match="no memory"):
            await batcher.probabilities([image(0), image(1)])
        assert (await batcher.probabilities([image(2)])).shape == (1, 2)
        task.cancel()

    asyncio.run(requests())


def content() -> bytes:
    file = io.BytesIO()
    Image.fromarray(image(200)).save(file, "PNG")
    return file.getvalue()


def test_more_requests_than_the_queue_get_503_and_a_slow_body_gets_408(photo_model):
    from afield.serving.app import make_app
    from afield.serving.limits import Limits

    model, go = package.load(photo_model), threading.Event()

    def classify(images):
        go.wait(5)
        return np.full((len(images), 3), 1 / 3, np.float32)

    async def slow():
        yield content()[:10]
        await asyncio.sleep(1)
        yield content()[10:]

    async def requests():
        app = make_app(model, classify, limits=Limits(queue=2, seconds=0.1))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                waiting = [asyncio.create_task(client.post("/predict", content=content())) for _ in range(2)]
                await asyncio.sleep(0.05)
                refused = await client.post("/predict", content=content())
                go.set()
                answers = await asyncio.gather(*waiting)
                return refused, answers, await client.post("/predict", content=slow())

    refused, answers, late = asyncio.run(requests())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json() == {"error": "the server is busy; try again"}
    assert [answer.status_code for answer in answers] == [200, 200]
    assert late.status_code == 408


def test_a_client_that_leaves_is_no_fault_of_the_server(photo_model):
    from afield.serving.app import make_app

    app, sent = make_app(package.load(photo_model), lambda images: images), []
    messages = iter([{"type": "http.request", "body": content()[:9], "more_body": True}, {"type": "http.disconnect"}])
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"localhost")]}

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    asyncio.run(app({**scope, "query_string": b""}, receive, send))
    assert sent[0]["status"] == 400
    assert b"was closed" in sent[1]["body"]


def _serve(folder, model):
    import sys

    from afield.cli import main
    from afield.serving import runtime

    def slow(images):
        (folder / "begun").touch()
        time.sleep(0.5)
        return np.full((len(images), 3), 1 / 3, np.float32)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray, in an earlier test of this process, exits with 1
    runtime.make_classify = lambda *_: slow
    sys.stdout = sys.stderr = open(folder / "said", "w", buffering=1)  # noqa: SIM115
    main(["serve", str(model), "--port", "0", "--runtime", "torch"])


def _until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sigterm_finishes_requests_and_ends_the_server(photo_model, tmp_path):
    process = forks.start(_serve, tmp_path, photo_model)
    try:
        said = tmp_path / "said"
        _until(lambda: said.exists() and "/predict (PyTorch" in said.read_text())
        address = said.read_text().split()[3]
        found = []

        def ask():
            with urllib.request.urlopen(urllib.request.Request(address, content()), timeout=20) as answer:
                found.append(json.load(answer))

        asking = threading.Thread(target=ask)
        asking.start()
        _until((tmp_path / "begun").exists)
        os.kill(process.pid, signal.SIGTERM)
        asking.join(20)
        process.join(20)
        assert found[0]["predictions"][0]["probability"] == pytest.approx(1 / 3)
        assert process.exitcode == 0
        assert "Traceback" not in said.read_text()
    finally:
        process.kill()


def test_another_host_needs_a_token(afield, photo_model, monkeypatch):
    monkeypatch.delenv("AFIELD_TOKEN", raising=False)
    said = refused(afield, "serve", photo_model, "--host", "0.0.0.0")
    assert "--host 0.0.0.0 lets other machines send requests: set a token" in said
    monkeypatch.setenv("AFIELD_TOKEN", "short")
    assert "at least 16 ASCII characters" in refused(afield, "serve", photo_model, "--host", "0.0.0.0")
    assert "--queue must be" in refused(afield, "serve", photo_model, "--queue", 0)
    assert "--max-body must be" in refused(afield, "serve", photo_model, "--max-body", "lots")


def test_onnx_runtime_gives_the_probabilities_of_the_model(photo_model):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from afield.serving.runtime import choose_runtime, make_classify

    model = package.load(photo_model)
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    assert choose_runtime("auto") == "onnx"
    assert choose_runtime("torch") == "torch"
    found = make_classify(model, "onnx", threads=1)(images)
    assert found == pytest.approx(model.probabilities(model.logits(images)).numpy(), abs=1e-4)
    assert found == pytest.approx(make_classify(model, "torch")(images), abs=1e-4)
