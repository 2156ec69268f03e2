"""Real processes: the gateway, and services run by `python -m tidegate_sdk serve`. The tests of the example services use them too."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import websockets.sync.client
from websockets.typing import Subprotocol

HERE = pathlib.Path(__file__).parent
WAIT = 60.0  # seconds; many times what anything here takes, on a busy machine too


class Process:
    """A child whose lines are read as they come."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self.command = command
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.lines.append(line.rstrip())
            self._new.put(line.rstrip())
        self._new.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line in which this is found."""
        while True:
            try:
                line = self._new.get(timeout=WAIT)
            except queue.Empty:
                raise AssertionError(f"{self.command} never said {pattern!r}:\n" + "\n".join(self.lines)) from None
            assert line is not None, f"{self.command} ended before it said {pattern!r}:\n" + "\n".join(self.lines)
            if found := re.search(pattern, line):
                return found

    def signal(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    def ended(self) -> int:
        return self.child.wait(WAIT)

    def stop(self) -> None:
        self.child.kill()
        self.child.wait(WAIT)


class Worker(Process):
    """A service."""

    def __init__(self, *arguments: str, cwd: pathlib.Path = HERE, **environment: str) -> None:
        command = [sys.executable, "-m", "tidegate_sdk", "serve", *arguments, "--listen", "127.0.0.1:0"]
        super().__init__(command, cwd=cwd, env={**os.environ, "PYTHONUNBUFFERED": "1", **environment})
        self.metrics = self.line(r"metrics on (http\S+)").group(1) if "--metrics" in arguments else ""
        self.address = self.line(r"serving .* on (\S+)").group(1)


class Gateway(Process):
    """The gateway, with one pipeline a hop."""

    def __init__(self, folder: pathlib.Path, pipelines: list[str], **environment: str) -> None:
        binary = os.environ.get("TIDEGATE_BIN")
        assert binary, "TIDEGATE_BIN is to name the gateway's binary: run `make test-sdk` or `make test-services`"
        for number, pipeline in enumerate(pipelines):
            (folder / f"p{number}.yaml").write_text(pipeline)
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--pipelines", str(folder)]
        super().__init__(command, env={**os.environ, "TIDEGATE_LOG_FILTER": "warn", **environment})
        self.address = self.line(r"listening on http://(\S+)").group(1)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=WAIT) as answer:
            return str(answer.read().decode())

    def execute(self, pipeline: str, inputs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        """Outputs by port, or the problem."""
        request = urllib.request.Request(
            f"http://{self.address}/v1/pipelines/{pipeline}/execute",
            json.dumps({"inputs": inputs}).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as answer:
                outputs: dict[str, Any] = json.load(answer)["outputs"]
                return outputs
        except urllib.error.HTTPError as error:
            problem: dict[str, Any] = json.load(error)
            return problem

    @contextlib.contextmanager
    def session(self, pipeline: str, **opening: Any) -> Iterator[Client]:
        address = f"ws://{self.address}/v1/pipelines/{pipeline}/ws"
        with websockets.sync.client.connect(address, subprotocols=[Subprotocol("tidegate.v1.json")], max_size=1 << 24) as socket:
            yield Client(socket, {"mode": "waits", **opening})


class Client:
    """A client of the native stream."""

    def __init__(self, socket: websockets.sync.client.ClientConnection, opening: dict[str, Any]) -> None:
        self._socket = socket
        self.send("open", **opening)
        self.opened = self.next("opened")

    def send(self, message: str, **fields: Any) -> None:
        self._socket.send(json.dumps({message: fields}))

    def frame(self, port: str, **fields: Any) -> None:
        self.send("frame", port=port, **fields)

    def message(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self._socket.recv(WAIT))
        return said

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; others before it are passed over, errors are not."""
        while True:
            message = self.message()
            assert kind == "error" or "error" not in message, message
            assert kind == "ended" or "ended" not in message, message
            if kind in message:
                return dict(message[kind])

    def rest(self) -> list[dict[str, Any]]:
        """All frames until the end."""
        frames = []
        while "ended" not in (message := self.message()):
            assert "error" not in message, message
            frames += [message["frame"]] if "frame" in message else []
        return frames


def pipeline(name: str, hop: str, kinds: tuple[str, str], endpoints: list[str], more: str = "") -> str:
    """A manifest whose one node is a remote hop."""
    listed = ", ".join(f'"http://{address}"' if "://" not in address else f'"{address}"' for address in endpoints)
    return f"""
version: tidegate/v1
name: {name}
inputs: [{{name: in, kind: {kinds[0]}}}]
outputs: [{{name: out, kind: {kinds[1]}}}]
nodes:
  - {{id: hop, type: remote, params: {{endpoints: [{listed}], pipeline: {hop}, health: {{interval: 200ms, timeout: 200ms}}{more}}}}}
edges: [in -> hop, hop -> out]
"""
