"""The labeling page as a web application for browsers on the same machine."""

import io
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from afield.data.decode import BadImageError, decode
from afield.errors import InputError
from afield.labeling.session import ConflictError, Session
from afield.web import LOOPBACK, for_this_machine, run_app, with_headers

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
    return Starlette(routes=[Mount(f"/{token}", routes=routes)], middleware=[for_this_machine(), with_headers(HEADERS)])


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
    run_app(make_app(session, token), LOOPBACK, port, lambda address: on_ready(f"{address}/{token}/"))


def as_jpeg(file: Path) -> bytes:
    """Convert an image file of any supported format to an upright JPEG for browsers."""
    image, buffer = decode(file.read_bytes(), side=LARGEST_SIDE), io.BytesIO()
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
