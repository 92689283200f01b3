"""The images in the body of a request: one image as it is, or several in a form."""

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from afield.serving.limits import Limits


async def read_contents(request: Request, limits: Limits) -> list[tuple[str, bytes]]:
    """The name and content of each image file in a request, at least one.

    A body of type ``multipart/form-data`` has one file for each image, in fields of any name. Any other body is one
    image; its name is empty.

    Raises:
        HTTPException: with status 400, 408 or 413, if there is no image, the form is damaged, the body is too large or
            has too many images, or it takes too long.
    """
    try:
        async with asyncio.timeout(limits.seconds):
            body = await _body(request, limits.body_bytes)
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body had arrived") from None
    except TimeoutError:
        raise HTTPException(408, f"the body of the request did not arrive within {limits.seconds:g} seconds") from None
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        if not body:
            raise HTTPException(400, "the request has no image: send an image file as its body, or files in a form")
        return [("", body)]
    return await _files(request, body, limits)


async def _body(request: Request, limit: int) -> bytes:
    large = HTTPException(413, f"the body of a request must have at most {limit:,} bytes")
    if int(request.headers.get("content-length", 0)) > limit:
        raise large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise large
        chunks.append(chunk)
    return b"".join(chunks)


async def _files(request: Request, body: bytes, limits: Limits) -> list[tuple[str, bytes]]:
    async def stream() -> AsyncGenerator[bytes]:
        yield body

    many = HTTPException(413, f"a request must have at most {limits.images} images")
    parser = MultiPartParser(request.headers, stream(), max_files=limits.images, max_fields=limits.images)
    parser.spool_max_size = limits.body_bytes  # files of a form stay in memory
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many" in error.message:
            raise many from None
        raise HTTPException(400, f"the form is damaged: {error.message}") from None
    except (KeyError, ValueError) as error:
        raise HTTPException(400, f"the form is damaged: {error}") from None
    try:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise HTTPException(400, "the form has no file; send each image as one, as curl -F image=@photo.jpg does")
        return [(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()
