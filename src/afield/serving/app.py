"""The application: predictions, health and metrics."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from afield.data.decode import BadImageError, decode_square
from afield.deploy.model import Model
from afield.names import shown
from afield.serving.batches import Batcher, Classify
from afield.serving.bodies import read_contents
from afield.serving.limits import Limits
from afield.serving.metrics import Metrics
from afield.web import for_this_machine, with_headers

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

DECODERS = 2
"""Number of threads that decode images."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def make_app(
    model: Model,
    classify: Classify,
    *,
    token: str | None = None,
    threshold: float | None = None,
    batch: int = 16,
    limits: Limits | None = None,
) -> Starlette:
    """Create the application.

    ``POST /predict`` answers with the predictions of the images in the request, ``GET /health`` says that the server is
    ready, and ``GET /metrics`` returns counters. Errors are JSON: ``{"error": MESSAGE}``.

    Args:
        model: trained model.
        classify: maps images ``[N, H, W, 3]`` of the model's size to probabilities ``[N, K]``.
        token: word that requests, except ``/health``, must have in the header ``Authorization: Bearer TOKEN``. Without
            it, only requests for the host names of this machine are accepted.
        threshold: probability below which a prediction is marked for review.
        batch: largest number of images in a batch.
        limits: bounds of requests.
    """
    server = _Server(model, classify, token, threshold, batch, limits or Limits())
    return Starlette(
        routes=[
            Route("/predict", server.predict, methods=["POST"]),
            Route("/health", server.health),
            Route("/metrics", server.text),
        ],
        middleware=[*([] if token else [for_this_machine()]), with_headers(HEADERS)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
        lifespan=server.lifespan,
    )


class _Server:
    def __init__(
        self, model: Model, classify: Classify, token: str | None, threshold: float | None, batch: int, limits: Limits
    ) -> None:
        self.model, self.token, self.threshold, self.limits = model, token, threshold, limits
        self.metrics = Metrics()
        self.batcher = Batcher(classify, batch, self.metrics.batches.observe)
        self.decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self.active = 0

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Classify batches while the server runs."""
        task = asyncio.create_task(self.batcher.run())
        try:
            yield
        finally:
            task.cancel()
            self.decoders.shutdown()

    async def health(self, request: Request) -> Response:
        """The server answers after the model is loaded."""
        return JSONResponse({"status": "ok"})

    async def text(self, request: Request) -> Response:
        """All counters."""
        self._check_token(request)
        return Response(self.metrics.text(), media_type=METRICS_TYPE)

    async def predict(self, request: Request) -> Response:
        """Count and time a request; refuse it if there are too many."""
        status, start = 500, time.perf_counter()
        self.active += 1
        try:
            self._check_token(request)
            if self.active > self.limits.queue:
                raise HTTPException(503, "the server is busy; try again", {"Retry-After": "1"})
            answer = JSONResponse({"predictions": await self._predictions(request)})
            status = 200
            return answer
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            self.active -= 1
            self.metrics.active.set(self.active)
            self.metrics.requests.labels(str(status)).inc()
            self.metrics.seconds.observe(time.perf_counter() - start)

    async def _predictions(self, request: Request) -> list[dict[str, Any]]:
        contents = await read_contents(request, self.limits)
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(self.decoders, partial(self._pixels, content)) for _, content in contents]
        images = []
        for number, (found, (name, _)) in enumerate(zip(await asyncio.gather(*work), contents, strict=True), start=1):
            if isinstance(found, str):
                where = f"image {number}" + (f" ({shown(name)})" if name else "")
                raise HTTPException(400, f"bad image: {where}: {found}")
            images.append(found)
        rows = await self.batcher.probabilities(images)
        self.metrics.images.inc(len(images))
        return [self._answer(row.tolist()) for row in rows]

    def _pixels(self, content: bytes) -> NDArray[np.uint8] | str:
        """The image as the model takes it, or the reason why it is bad."""
        try:
            return decode_square(content, self.model.size, self.limits.pixels)
        except BadImageError as error:
            return str(error)

    def _answer(self, probabilities: list[float]) -> dict[str, Any]:
        found = self.model.prediction(np.empty(0, np.uint8), probabilities)
        answer = {"label": found.label, "probability": found.probability, "probabilities": found.probabilities}
        return answer if self.threshold is None else {**answer, "review": found.probability < self.threshold}

    def _check_token(self, request: Request) -> None:
        if self.token is None:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secrets.compare_digest(given.encode(), self.token.encode()):
            need = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "the request needs the token: Authorization: Bearer TOKEN", need)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers: Mapping[str, str] | None = error.headers
    return JSONResponse({"error": error.detail}, error.status_code, headers)


async def _failed(request: Request, error: Exception) -> Response:
    """The traceback is in the log of the server only."""
    return JSONResponse({"error": "internal error"}, 500)
