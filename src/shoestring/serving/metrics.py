"""Metrics for Prometheus: requests, images, batches and models; with several workers, those of all of them."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"  # a folder, which prometheus_client reads from the environment

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of a server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "shoestring_requests", "Requests by path and status", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "shoestring_request_seconds", "Time to answer a request", ["path"], buckets=_SECONDS, registry=registry
        )
        self._running = Gauge(
            "shoestring_running_requests", "Requests in progress", registry=registry, multiprocess_mode="livesum"
        )
        self.waiting = Gauge(
            "shoestring_waiting_images",
            "Images that are not answered yet",
            ["model"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.decode_seconds = Histogram(
            "shoestring_decode_seconds", "Time to decode an image", ["model"], buckets=_SECONDS, registry=registry
        )
        self.predict_seconds = Histogram(
            "shoestring_predict_seconds", "Time to predict a batch", ["model"], buckets=_SECONDS, registry=registry
        )
        self.batches = Histogram(
            "shoestring_batch_images", "Images in a batch", ["model"], buckets=_BATCHES, registry=registry
        )
        self.loads = Counter(
            "shoestring_model_loads", "Loads of a model by result", ["model", "result"], registry=registry
        )
        if SHARED_METRICS not in os.environ:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)

    def started(self) -> None:
        """Count the start of a request."""
        self._running.inc()

    def finished(self, path: str, status: int, seconds: float) -> None:
        """Count the end of a request."""
        self._running.dec()
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def of_model(self, name: str) -> ModelMetrics:
        """Return the metrics of a model."""
        return ModelMetrics(self, name)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        if SHARED_METRICS not in os.environ:
            return generate_latest(self.registry)
        everything = CollectorRegistry()
        MultiProcessCollector(everything)
        return generate_latest(everything)


class ModelMetrics:
    """The metrics of one model."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._waiting = metrics.waiting.labels(name)
        self._decode_seconds = metrics.decode_seconds.labels(name)
        self._predict_seconds = metrics.predict_seconds.labels(name)
        self._batches = metrics.batches.labels(name)
        self._loads = {result: metrics.loads.labels(name, result) for result in ("loaded", "failed")}

    def waiting(self, change: int) -> None:
        """Count images that begin (above zero) or end to wait for their answer."""
        self._waiting.inc(change)

    def decoded(self, seconds: float) -> None:
        """Count a decoded image."""
        self._decode_seconds.observe(seconds)

    def predicted(self, images: int, seconds: float) -> None:
        """Count a predicted batch."""
        self._batches.observe(images)
        self._predict_seconds.observe(seconds)

    def load(self, result: str) -> None:
        """Count that the model was "loaded", or that this "failed"."""
        self._loads[result].inc()
