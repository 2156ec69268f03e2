"""Figures of each hop, for Prometheus. What every frame touches is a plain number, which is read when somebody asks."""

from __future__ import annotations

import math
import socket
import ssl
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import MetricsHandler
from prometheus_client.registry import Collector

from .settings import host_and_port

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Figures:
    """Of one hop."""

    def __init__(self, metrics: Metrics, hop: str) -> None:
        self.frames_in = 0
        self.frames_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.sessions = 0
        self.dropped: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._service = [0] * (len(_SECONDS) + 1)
        self._service_seconds = 0.0
        self._batch_frames = metrics.batch_frames.labels(hop)
        self._batch_seconds = metrics.batch_seconds.labels(hop)

    def drop(self, reason: str, frames: int = 1) -> None:
        """Frames that the function did not get, or whose outputs nobody wanted."""
        if frames:
            self.dropped[reason] += frames

    def served(self, seconds: float) -> None:
        """An output was sent so long after the frame came that caused it."""
        self._service[bisect_left(_SECONDS, seconds)] += 1
        self._service_seconds += seconds

    def service(self) -> tuple[list[tuple[str, float]], float]:
        """How many outputs took at most so long, and the time of all."""
        counts, below = list(self._service), 0
        buckets = []
        for bound, count in zip((*_SECONDS, math.inf), counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == math.inf else str(float(bound)), float(below)))
        return buckets, self._service_seconds

    def batch(self, frames: int, seconds: float) -> None:
        """A call for several frames."""
        self._batch_frames.observe(frames)
        self._batch_seconds.observe(seconds)


class Metrics(Collector):
    """Of the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.batch_frames = self._histogram("batch_frames", "Frames in one call of a batch function.", _BATCH)
        self.batch_seconds = self._histogram("batch_seconds", "Duration of one call of a batch function.", _SECONDS)
        self._hops: dict[str, Figures] = {}
        self.registry.register(self)

    def of(self, hop: str) -> Figures:
        """Figures of a hop."""
        if hop not in self._hops:
            self._hops[hop] = Figures(self, hop)
        return self._hops[hop]

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"tidegate_worker_{name}", text, ["hop"], buckets=buckets, registry=self.registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing that could be known beforehand is left out of `collect`."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Called by Prometheus' client."""
        active = GaugeMetricFamily("tidegate_worker_sessions_active", "Sessions and calls that run.", labels=["hop"])
        total = CounterMetricFamily("tidegate_worker_sessions", "Sessions and calls, by how they ended.", labels=["hop", "outcome"])
        frames = CounterMetricFamily("tidegate_worker_frames", "Frames in and out.", labels=["hop", "direction"])
        octets = CounterMetricFamily("tidegate_worker_bytes", "Payload bytes in and out.", labels=["hop", "direction"])
        text = "From a frame's arrival to an output that it caused."
        service = HistogramMetricFamily("tidegate_worker_service_seconds", text, labels=["hop"])
        dropped = CounterMetricFamily("tidegate_worker_dropped_frames", "Frames that did not go on, and why.", labels=["hop", "reason"])
        for hop, figures in self._hops.items():
            active.add_metric([hop], figures.sessions)
            _each(total, hop, figures.outcomes)
            _each(frames, hop, {"in": figures.frames_in, "out": figures.frames_out})
            _each(octets, hop, {"in": figures.bytes_in, "out": figures.bytes_out})
            _each(dropped, hop, figures.dropped)
            service.add_metric([hop], *figures.service())
        return [active, total, frames, octets, dropped, service]


def _each(family: CounterMetricFamily, hop: str, values: Mapping[str, int]) -> None:
    # Copied, since the loop's thread may add to it meanwhile.
    for label, value in dict(values).items():
        family.add_metric([hop, label], value)


def listen(metrics: Metrics, address: str, tls: ssl.SSLContext | None) -> Any:
    """A server of `/metrics` that listens, and answers once `serve` is called. Raises `OSError`."""
    host, port = host_and_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class Http(ThreadingHTTPServer):
        address_family = family
        daemon_threads = True
        # Two workers would share a port unnoticed.
        allow_reuse_port = False

    server = Http((host, port), MetricsHandler.factory(metrics.registry))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    return server


def serve(server: Any) -> None:
    """Answers, in a thread."""
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
