"""The labeling page as a web application for browsers on the same machine."""

import contextlib
import io
import secrets
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from afield.data.decode import BadImageError, decode
from afield.errors import InputError
from afield.labeling.session import ConflictError, Session

HOST = "127.0.0.1"
LARGEST_SIDE = 2048
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Change = Callable[[Session, str, dict[str, Any]], None]
CHANGES: dict[str, Change] = {
    "label": lambda session, browser, given: session.label(browser, given["image"], given["label"]),
    "skip": lambda session, browser, given: session.skip(browser, given["image"]),
    "undo": lambda session, browser, given: session.undo(browser),
}


def make_app(session: Session, token: str) -> Starlette:
    """Create the application. Every address starts with the token, and only host names of this machine are accepted.

    Images are served by their index, and only images in the label file are served. Requests can change the label file
    and nothing else.
    """
    routes = [
        *(Route(f"/{name}", partial(_file, name or "page.html")) for name in ("", "page.css", "page.js")),
        Route("/view", partial(_view, session)),
        Route("/image/{index:int}", partial(_image, session)),
        *(Route(f"/{name}", partial(_change, session, change), methods=["POST"]) for name, change in CHANGES.items()),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False),
        Middleware(BaseHTTPMiddleware, dispatch=_with_headers),
    ]
    return Starlette(routes=[Mount(f"/{token}", routes=routes)], middleware=middleware)


def serve(session: Session, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the page on this machine until an interrupt.

    Args:
        session: labeling session.
        port: port; 0 selects a free port.
        on_ready: called with the address of the page, which contains a random token.

    Raises:
        InputError: if the port is in use.
    """
    token = secrets.token_urlsafe(24)
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(f"cannot listen on port {port}: {error.strerror}; choose another --port") from None
    with listener:
        on_ready(f"http://{HOST}:{listener.getsockname()[1]}/{token}/")
        config = uvicorn.Config(make_app(session, token), log_level="warning", access_log=False)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def as_jpeg(file: Path) -> bytes:
    """Convert an image file of any supported format to an upright JPEG for browsers."""
    image, buffer = decode(file.read_bytes()), io.BytesIO()
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


async def _file(name: str, request: Request) -> Response:
    return FileResponse(Path(__file__).parent / name)


async def _view(session: Session, request: Request) -> Response:
    return JSONResponse(await run_in_threadpool(session.view, request.query_params.get("browser", "")))


async def _image(session: Session, request: Request) -> Response:
    file = session.listed(request.path_params["index"])
    try:
        if file is not None:
            return Response(await run_in_threadpool(as_jpeg, file), media_type="image/jpeg")
    except (OSError, BadImageError):
        pass
    raise HTTPException(404)


async def _change(session: Session, change: Change, request: Request) -> Response:
    """Change the session and answer with the next view. The head is refitted after the answer."""
    status, message = 200, ""
    try:
        given = await request.json()
        browser = str(given["browser"])
        await run_in_threadpool(change, session, browser, given)
    except ConflictError as error:
        status, message = 409, str(error)
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise HTTPException(400, str(error)) from None
    except OSError as error:
        raise HTTPException(500, f"cannot write {session.file}: {error.strerror}") from None
    found = await run_in_threadpool(session.view, browser)
    return JSONResponse({**found, "message": message}, status, background=BackgroundTask(session.refresh))


async def _with_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response
