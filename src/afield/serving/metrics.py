"""Counters of a server in the text format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server.

    Attributes:
        requests: answered requests to ``/predict``, by status.
        images: classified images.
        seconds: durations of requests to ``/predict``.
        batches: numbers of images in a batch.
        active: requests that are read or answered now.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("afield_requests", "Answered requests", ["status"], registry=registry)
        self.images = Counter("afield_images", "Classified images", registry=registry)
        self.seconds = Histogram("afield_request_seconds", "Durations", buckets=SECONDS, registry=registry)
        self.batches = Histogram("afield_batch_images", "Images in a batch", buckets=IMAGES, registry=registry)
        self.active = Gauge("afield_active_requests", "Requests that are read or answered now", registry=registry)

    def text(self) -> bytes:
        """All counters."""
        return generate_latest(self._registry)
