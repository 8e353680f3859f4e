"""A server's counts, in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from dcnn_fast.serve.gate import Gate
from dcnn_fast.serve.workers import Workers

TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts of one application; several applications in a process have separate counts."""

    def __init__(self, gate: Gate, workers: Workers) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "dcnn_fast_requests", "Requests that were answered", ["path", "status"], registry=self._registry
        )
        self.images = Counter(
            "dcnn_fast_images", "Images by result: scored, unreadable or given up", ["result"], registry=self._registry
        )
        self.seconds = Histogram(
            "dcnn_fast_request_seconds", "From a request's head to its answer", ["path"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        computed = Gauge("dcnn_fast_computed_images", "Images that were computed, the first one too", registry=self._registry)
        computed.set_function(lambda: workers.computed)
        held = Gauge("dcnn_fast_held_images", "Images that wait or are computed", registry=self._registry)
        held.set_function(lambda: gate.images)
        held_bytes = Gauge("dcnn_fast_held_bytes", "Bytes of requests that wait or are computed", registry=self._registry)
        held_bytes.set_function(lambda: gate.bytes)

    def page(self) -> bytes:
        """All counts in Prometheus' text format."""
        return generate_latest(self._registry)
