"""Serves hops by gRPC: `tidegate.v1.Gateway`, health, reflection, metrics, and a drain before the end."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from . import metrics, rpc
from .hop import Hop, Running
from .metrics import Metrics
from .places import each_of_its_name
from .settings import Refused, Settings, host_and_port
from .wire import decode_client

log = logging.getLogger("tidegate_sdk")

_SERVICE = "tidegate.v1.Gateway"
# Calls beside the sessions: descriptions, health, reflection.
_OTHER_CALLS = 64


class Server:
    """`async with Server([hop], Settings(…)) as server:` serves until the block is left."""

    def __init__(self, hops: Sequence[Hop], settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.settings.check()
        if not hops:
            raise Refused("there is no hop to serve")
        each_of_its_name(hops)
        self.metrics = Metrics()
        self.hops: dict[str, Running] = {}
        for hop in hops:
            running = hop.ready()
            if running.batcher is not None:
                running.batcher.on_call = self.metrics.of(hop.name).batch
            self.hops[hop.name] = running
        self.address = self.settings.listen
        """Where it listens, once it does."""
        self.metrics_address: str | None = None
        self._health = HealthServicer()
        self._grpc: grpc.aio.Server | None = None
        self._service: rpc.Service | None = None
        self._metrics_server: Any = None

    async def start(self) -> None:
        """Listens. Raises `Refused` if it cannot; then nothing is left of it."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        if settings.metrics is not None:
            tls = settings.tls.context() if settings.tls else None
            try:
                self._metrics_server = metrics.listen(self.metrics, settings.metrics, tls)
            except OSError as error:
                raise _taken(settings.metrics, "--metrics", error) from error
        calls = ThreadPoolExecutor(settings.threads, "hop")
        streams = ThreadPoolExecutor(settings.sessions, "hop-stream")
        self._service = service = rpc.Service(self.hops, settings, self.metrics, calls, streams)
        options = [
            # Two workers would share a port unnoticed.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", settings.message_bytes),
            ("grpc.max_send_message_length", -1),
            # The gateway asks idle connections every ten seconds whether they live; gRPC would take that for an attack.
            ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            # Of large messages HTTP/2's smallest frames cost more than the messages.
            ("grpc.http2.max_frame_size", 1 << 20),
        ]
        self._grpc = server = grpc.aio.server(options=options, maximum_concurrent_rpcs=settings.sessions + _OTHER_CALLS)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, service.handlers(decode_client))])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection([_SERVICE, health, reflection.SERVICE_NAME], server)
        _try(settings.listen)
        try:
            self.address = _shown(settings.listen, self._listen(server))
        except RuntimeError as error:
            raise Refused(f"{settings.listen} cannot be listened on: {error}") from error
        await server.start()
        for name in ("", _SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        if self._metrics_server is not None:
            metrics.serve(self._metrics_server)
            self.metrics_address = _shown(str(settings.metrics), self._metrics_server.server_address[1])

    def _listen(self, server: grpc.aio.Server) -> int:
        tls = self.settings.tls
        if tls is None:
            return server.add_insecure_port(self.settings.listen)
        credentials = grpc.ssl_server_credentials(
            [(tls.key, tls.certificate)], root_certificates=tls.client_ca, require_client_auth=tls.client_ca is not None
        )
        return server.add_secure_port(self.settings.listen, credentials)

    @property
    def sessions(self) -> int:
        """How many run."""
        return len(self._service.sessions) if self._service else 0

    async def drain(self) -> None:
        """Takes no more sessions, tells those that run, and waits until they have left or their time is over."""
        service = self._service
        assert service is not None, "it was started"
        grace = self.settings.grace
        await self._health.enter_graceful_shutdown()
        log.info("draining %d sessions for at most %g s", self.sessions, grace)
        await service.drain(time.monotonic() + grace)

    async def stop(self) -> None:
        """Ends what runs."""
        if self._grpc is not None:
            await self._grpc.stop(grace=0.5)
            self._grpc = None
        if self._service is not None:
            self._service.shut()
        if self._metrics_server is not None:
            if self.metrics_address is not None:
                await asyncio.to_thread(self._metrics_server.shutdown)
                self.metrics_address = None
            self._metrics_server.server_close()
            self._metrics_server = None

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()


def _shown(address: str, port: int) -> str:
    host, _ = host_and_port(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _try(address: str) -> None:
    """Sees that it can be listened on: gRPC does not say why it cannot. As to gRPC, one of a name's addresses is enough: a host without
    IPv6 may still have `::1 localhost` among its names. None of them may be taken."""
    host, port = host_and_port(address)
    failed: list[OSError] = []
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in places:
            try:
                with socket.socket(family, kind, protocol) as one:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind(place)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise
                failed.append(error)
        if len(failed) == len(places):
            raise failed[0]
    except OSError as error:
        raise _taken(address, "--listen", error) from error


def _taken(address: str, option: str, error: OSError) -> Refused:
    asked = "; is another worker there?" if error.errno == errno.EADDRINUSE else ""
    return Refused(
        f"{address} cannot be listened on: {(error.strerror or str(error)).lower()}{asked} (another address: {option} HOST:PORT)"
    )
