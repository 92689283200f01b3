"""Bounds of what a server accepts, so that no request can take its memory."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of requests.

    At most ``queue`` requests are read or answered at a time, so that their bodies take at most ``queue * body_bytes``
    of memory. Further requests are answered with 503.

    Attributes:
        body_bytes: largest body of a request, in bytes.
        pixels: largest number of pixels of an image.
        images: largest number of images in a request.
        queue: largest number of requests at a time.
        seconds: longest time to receive the body of a request.
    """

    body_bytes: int = 16 * 2**20
    pixels: int = 50_000_000
    images: int = 16
    queue: int = 32
    seconds: float = 30.0
