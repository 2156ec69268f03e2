"""Starts all services and a gateway in front of them, says where the interpreter is, and stops all on Ctrl-C.

    python -m tidegate_services.demo target/release/tidegate [OPTION OF tidegate serve …]

Ports of the services are the system's choice, so a second demo disturbs the first only where both want the gateway's address.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import webbrowser
from collections.abc import Awaitable, Callable, Mapping

SERVICES = {
    "STT_WORKER": ("stt", "tidegate_services.stt:SpeechToText"),
    "TRANSLATE_WORKER": ("translate", "tidegate_services.translate:Translation"),
    "SPEAK_WORKER": ("speak", "tidegate_services.speak:Speech"),
    "REPLY_WORKER": ("reply", "tidegate_services.reply:reply"),
}
"""Name and place by the variable in which the pipelines look for the address."""
# Loading models takes a few seconds on an idle machine.
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_LINE_BYTES = 1 << 20


class Failed(Exception):
    """What a person is told; the demo ends with 1."""


class Child:
    """A process whose lines are shown under its name."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, ready: str) -> None:
        self.name = name
        self._process = process
        self._ready = re.compile(ready)
        self._address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._following = asyncio.create_task(self._follow())

    @classmethod
    async def start(cls, name: str, command: list[str], ready: str, environment: Mapping[str, str]) -> Child:
        """`ready` is what it says when it can be used, with its address."""
        # It ends with the demo, whatever ends that; and Ctrl-C is the demo's, which stops the gateway before what it needs.
        leash = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        try:
            process = await asyncio.create_subprocess_exec(
                *leash,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=_LINE_BYTES,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                start_new_session=True,
            )
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from error
        return cls(name, process, ready)

    async def address(self) -> str:
        """Where it listens."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                return await asyncio.shield(self._address)
        except TimeoutError:
            raise Failed(f"{self.name} was not ready within {_START_SECONDS:.0f} s") from None

    async def ended(self) -> None:
        """Returns when it has ended by itself, which it should not."""
        await asyncio.shield(self._following)

    async def stop(self) -> None:
        """As a service manager does: asked first."""
        for ask in (self._process.terminate, self._process.kill):
            with contextlib.suppress(ProcessLookupError):
                ask()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
                    break
        self._address.cancel()
        await self._following

    async def _follow(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            print(f"{self.name:>9} | {line}", flush=True)
            if (found := self._ready.search(line)) and not self._address.done():
                self._address.set_result(found.group(1))
        if not self._address.done():
            self._address.set_exception(Failed(f"{self.name} has ended before it was ready: its last words are above"))
            self._address.exception()


Begin = Callable[[str, list[str], str, Mapping[str, str]], Awaitable[Child]]


async def demo(gateway: list[str]) -> None:
    """Until Ctrl-C."""
    asked = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, asked.set)
    async with contextlib.AsyncExitStack() as stack:

        async def begin(name: str, command: list[str], ready: str, environment: Mapping[str, str]) -> Child:
            child = await Child.start(name, command, ready, environment)
            stack.push_async_callback(child.stop)
            return child

        running = asyncio.create_task(_run(begin, gateway))
        waiting = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            for task in (running, waiting):
                task.cancel()
            await asyncio.gather(running, waiting, return_exceptions=True)
            print("stopping", flush=True)


async def _run(begin: Begin, gateway: list[str]) -> None:
    """Starts all, and returns if one ends."""
    serve = [sys.executable, "-m", "tidegate_sdk", "serve", "--listen", "127.0.0.1:0"]
    services = {variable: await begin(name, [*serve, place], r"serving .* on (\S+)", {}) for variable, (name, place) in SERVICES.items()}
    addresses = {variable: f"http://{await child.address()}" for variable, child in services.items()}
    front = await begin("gateway", gateway, r"listening on (http\S+)", addresses)
    try:
        address = await front.address()
    except Failed as error:
        raise Failed(f'{error}. Its options are given so: make demo ARGS="--listen 127.0.0.1:9090"') from None
    page = f"{address.rstrip('/')}/?pipeline=interpreter"
    print(f"\nThe interpreter: {page}\nPress Talk and say a sentence in English. Ctrl-C stops everything.\n", flush=True)
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(page)
    children = [*services.values(), front]
    ends = [asyncio.create_task(child.ended()) for child in children]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
    gone = ", ".join(child.name for child, end in zip(children, ends, strict=True) if end.done() and not end.cancelled())
    raise Failed(f"{gone} has ended: its last words are above")


def main() -> int:
    """The command line."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print("usage: python -m tidegate_services.demo TIDEGATE [OPTION OF tidegate serve …]", file=sys.stderr)
        return 2
    try:
        asyncio.run(demo([sys.argv[1], "serve", *sys.argv[2:]]))
    except Failed as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
