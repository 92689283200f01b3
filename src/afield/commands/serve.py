"""``afield serve``: predictions for other programs over HTTP."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from afield.amounts import parse_bytes
from afield.commands.model_options import ReviewOptions
from afield.errors import InputError
from afield.validation import check_number

TOKEN = "AFIELD_TOKEN"


@dataclass(frozen=True)
class Serve(ReviewOptions):
    """Predict the classes of images that other programs send over HTTP.

    POST /predict takes an image file as body, or several in a form; GET /health and GET /metrics describe the server.
    It serves this machine only, unless --host names another address; then a token is required.

    Attributes:
        model: Model folder, written by `afield train`, or hf://OWNER/NAME.
        host: Address to listen on.
        port: Port to listen on; 0 selects a free port.
        token: Word that requests must have in the header Authorization: Bearer TOKEN; by default, the value of the
            environment variable AFIELD_TOKEN, if it is set.
        runtime: What computes: ONNX Runtime, if it is installed, or PyTorch.
        threads: Number of threads that ONNX Runtime computes with; by default, one for each core.
        batch: Largest number of images of concurrent requests that are computed at once.
        max_body: Largest body of a request, such as 16MiB.
        max_pixels: Largest number of pixels of an image.
        max_images: Largest number of images in a request.
        queue: Largest number of requests at a time; further ones are answered with 503.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield serve runs/site-model",
        "afield serve runs/site-model --host 0.0.0.0 --port 8080",
    )

    model: Annotated[Path, tyro.conf.Positional]
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    runtime: Literal["auto", "onnx", "torch"] = "auto"
    threads: int | None = None
    batch: int = 16
    max_body: str = "16MiB"
    max_pixels: int = 50_000_000
    max_images: int = 16
    queue: int = 32

    def run(self) -> None:
        """Serve until an interrupt or SIGTERM."""
        token = self._check()

        from afield.deploy import load
        from afield.serving.app import make_app
        from afield.serving.limits import Limits
        from afield.serving.runtime import choose_runtime, make_classify
        from afield.web import run_app

        runtime, model = choose_runtime(self.runtime), load(self.model)
        limits = Limits(parse_bytes("--max-body", self.max_body), self.max_pixels, self.max_images, self.queue)
        classify = make_classify(model, runtime, self.threads or 0)
        app = make_app(
            model, classify, token=token, threshold=self.threshold_of(model), batch=self.batch, limits=limits
        )
        about = f"POST images to {{}}/predict ({'ONNX Runtime' if runtime == 'onnx' else 'PyTorch'}; Ctrl-C ends it)"
        run_app(app, self.host, self.port, lambda address: print(about.format(address), flush=True))

    def _check(self) -> str | None:
        """Reject invalid options before the model is read. Returns the token."""
        import importlib.util

        self.check()
        check_number("--port", self.port, 0, 65535, whole=True)
        for name, high in {"batch": 1024, "max_images": 10_000, "queue": 10_000, "max_pixels": 178_956_970}.items():
            check_number(f"--{name.replace('_', '-')}", getattr(self, name), 1, high, whole=True)
        if self.threads is not None:
            check_number("--threads", self.threads, 1, 1000, whole=True)
        parse_bytes("--max-body", self.max_body)
        for package in ("starlette", "uvicorn", "python_multipart", "prometheus_client"):
            if importlib.util.find_spec(package) is None:
                raise InputError(f"afield serve needs the package {package}: pip install 'afield[serve]'")
        from afield.web import THIS_MACHINE

        token = self.token if self.token is not None else os.environ.get(TOKEN) or None
        if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
            raise InputError("a token must have at least 16 ASCII characters without spaces")
        if token is None and self.host not in THIS_MACHINE:
            raise InputError(
                f"--host {self.host} lets other machines send requests: set a token in the environment variable {TOKEN}"
            )
        return token
