"""`python -m tidegate_sdk serve module:hop …` serves hops; `describe` prints their part of a manifest."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import pathlib
import signal
import sys
from typing import Any

from . import memory
from .hop import Hop
from .places import Broken, blaming, each_of_its_name, hops_of, load, object_of
from .server import Server
from .settings import Refused, Settings, Tls
from .trace import TraceFilter

_TOKEN = "TIDEGATE_SDK_TOKEN"


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parsed = _parser().parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(TraceFilter())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s%(trace)s", handlers=[handler])
    # Services are modules of the folder that one is in, as with `python -m`.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        if parsed.command == "describe":
            hops = [hop for place in parsed.places for hop in hops_of(load(place))]
            each_of_its_name(hops)
            print("\n".join(manifest_of(hop) for hop in hops))
            return 0
        memory.keep()
        return asyncio.run(_serve(parsed.places, _settings(parsed)))
    except Refused as error:
        if isinstance(error, Broken):
            print(error.trace, end="", file=sys.stderr)
        print(f"tidegate_sdk: {error}", file=sys.stderr)
        return 2


async def _serve(places: list[str], settings: Settings) -> int:
    settings.check()
    async with contextlib.AsyncExitStack() as stack:
        hops: list[Hop] = []
        for place in places:
            found = load(place)
            instance: Any = object_of(found)
            # Of a class that opens something first, and closes it at the end.
            with blaming(f"{place} cannot be started"):
                if hasattr(instance, "__aenter__"):
                    instance = await stack.enter_async_context(instance) or instance
                elif hasattr(instance, "__enter__"):
                    instance = stack.enter_context(instance) or instance
            hops += hops_of(instance)
        server = await stack.enter_async_context(Server(hops, settings))
        loop = asyncio.get_running_loop()
        asked: asyncio.Queue[signal.Signals] = asyncio.Queue(2)
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, _ask, asked, one)
        if server.metrics_address is not None:
            print(f"metrics on http://{server.metrics_address}/metrics", flush=True)
        print(f"serving {', '.join(hop.name for hop in hops)} on {server.address}", flush=True)
        await asked.get()
        draining = asyncio.create_task(server.drain())
        again = asyncio.create_task(asked.get())
        await asyncio.wait([draining, again], return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        draining.cancel()
        await asyncio.gather(draining, again, return_exceptions=True)
    return 0


def _ask(asked: asyncio.Queue[signal.Signals], one: signal.Signals) -> None:
    with contextlib.suppress(asyncio.QueueFull):
        asked.put_nowait(one)


def manifest_of(hop: Hop) -> str:
    """The `remote` node that calls it, with its ports declared."""
    lines = [f"- id: {hop.name}", "  type: remote", "  params:", '    endpoints: ["http://127.0.0.1:7001"]', f"    pipeline: {hop.name}"]
    for side, ports in (("inputs", hop.inputs), ("outputs", hop.outputs)):
        shown = []
        for port in ports:
            format = port.agree(None)
            shown.append(f"{{name: {port.name}, kind: {port.word}{f', format: {format}' if format else ''}}}")
        lines.append(f"    {side}: [{', '.join(shown)}]")
    return "\n".join(lines)


def _settings(parsed: argparse.Namespace) -> Settings:
    tokens = [token for token in [os.environ.get(_TOKEN)] if token is not None]
    if parsed.token_file:
        try:
            lines = _read(parsed.token_file).decode().splitlines()
        except UnicodeDecodeError as error:
            raise Refused(f"{parsed.token_file}: this is no text: write a token a line") from error
        tokens += [line.strip() for line in lines if line.strip()]
    tls = None
    if parsed.tls_cert or parsed.tls_key or parsed.client_ca:
        if not (parsed.tls_cert and parsed.tls_key):
            raise Refused("--tls-cert goes with --tls-key, and --client-ca with both")
        tls = Tls(
            _read(parsed.tls_cert),
            _read(parsed.tls_key),
            _read(parsed.client_ca) if parsed.client_ca else None,
            files=(parsed.tls_cert, parsed.tls_key, parsed.client_ca or ""),
        )
    return Settings(
        listen=parsed.listen,
        metrics=parsed.metrics,
        sessions=parsed.sessions,
        threads=parsed.threads,
        message_bytes=parsed.message_bytes,
        grace=parsed.grace,
        tokens=tuple(tokens),
        tls=tls,
        insecure=parsed.insecure,
    )


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    usual = Settings()
    parser = argparse.ArgumentParser(prog="python -m tidegate_sdk", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve hops until SIGTERM")
    add = serve.add_argument
    add("places", nargs="+", metavar="MODULE[:NAME]", help="a hop, or a class, an object or a module that has some")
    add("--listen", default="127.0.0.1:7001", metavar="HOST:PORT", help="port 0 lets the system choose (default %(default)s)")
    add("--metrics", metavar="HOST:PORT", help="where to serve /metrics for Prometheus")
    add("--sessions", type=int, default=usual.sessions, help="at a time; the next is refused (default %(default)s)")
    add("--threads", type=int, default=usual.threads, help="for synchronous functions (default %(default)s)")
    add("--message-bytes", type=int, default=usual.message_bytes, help="largest message (default %(default)s)")
    add("--grace", type=float, default=usual.grace, metavar="SECONDS", help="for sessions after SIGTERM (default %(default)s)")
    add("--token-file", metavar="FILE", help=f"bearer tokens, one a line; one more may be in ${_TOKEN}")
    add("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    add("--tls-key", metavar="FILE", help="private key, PEM")
    add("--client-ca", metavar="FILE", help="who signs the certificates that clients must show (mTLS)")
    add("--insecure", action="store_true", help="serve an address that others reach without TLS and a token")
    describe = commands.add_parser("describe", help="print the remote nodes that call them, for a manifest")
    describe.add_argument("places", nargs="+", metavar="MODULE[:NAME]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
