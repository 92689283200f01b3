"""What the applications for browsers and other programs share: a listener, a check of host names, and headers."""

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afield.errors import InputError

LOOPBACK = "127.0.0.1"

THIS_MACHINE = (LOOPBACK, "localhost")
"""Names under which only programs of this machine reach a server."""

SECONDS_TO_END = 30
"""How long requests have to finish after SIGTERM."""


def for_this_machine() -> Middleware:
    """Refuse requests for other host names, which a page of a stranger can send to this machine (DNS rebinding)."""
    return Middleware(TrustedHostMiddleware, allowed_hosts=[*THIS_MACHINE], www_redirect=False)


def with_headers(headers: Mapping[str, str]) -> Middleware:
    """Add headers to each answer."""
    return Middleware(_WithHeaders, headers=headers)


def run_app(app: ASGIApp, host: str, port: int, on_ready: Callable[[str], None], **options: Any) -> None:
    """Serve an application until an interrupt or SIGTERM. Requests that have begun are finished.

    Args:
        app: application.
        host: name or address to listen on.
        port: port; 0 selects a free port.
        on_ready: called with the address, ``http://HOST:PORT``, without a slash at the end.
        options: options of `uvicorn.Config`.

    Raises:
        InputError: if the address is not available.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port") from None
    with listener:
        shown = f"[{host}]" if ":" in host else host
        on_ready(f"http://{shown}:{listener.getsockname()[1]}")
        about = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": SECONDS_TO_END}
        config = uvicorn.Config(app, **{**about, **options})
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


class _WithHeaders:
    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self.app, self.headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, send_more)
