"""A guide of docs/guides, followed: its files are written as they stand there, its commands are run as they stand there.

What differs: ports are the system's choice, so `127.0.0.1:7101` of the guide is wherever the process that was to listen there does.
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from processes import WAIT, Process

ROOT = pathlib.Path(__file__).resolve().parents[3]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"(?:#|//|<!--) ([\w./-]+\.\w+)\b")
_LISTENS = r"(?:listening on |serving .* on |metrics on |Listening on\" address=)\S*?:(\d+)(?:$|/|\s)"


def blocks_of(page: pathlib.Path) -> list[tuple[str, str]]:
    """Language and text of each block of code."""
    return _BLOCK.findall(page.read_text())


@dataclass
class Guide:
    """One, and the folder that its reader is in."""

    page: str
    folder: pathlib.Path
    start: Callable[..., Process]
    ports: dict[str, str] = field(default_factory=dict)
    """By port of the guide, the one that was got."""
    variables: dict[str, Process] = field(default_factory=dict)
    """Processes by the variable that the guide keeps their number in."""

    def blocks(self) -> list[tuple[str, str]]:
        """Those of the guide."""
        return blocks_of(ROOT / "docs" / "guides" / self.page)

    def block(self, part: str) -> str:
        """The one block with this in it."""
        [found] = [text for _, text in self.blocks() if part in text]
        return found

    def ours(self, text: str) -> str:
        """With our ports, and our clone."""
        text = text.replace("PATH/TO/tidegate", str(ROOT))
        return re.sub(r"(?<=:)(\d{4})\b", lambda port: self.ports.get(port[1], port[1]), text)

    def write(self, name: str) -> str:
        """The file whose first line names it."""
        [text] = [text for _, text in self.blocks() if (named := _NAMED.match(text)) and named[1] == name]
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.ours(text))
        return text

    def run(self, command: str) -> str:
        """A command that ends; what it wrote, or an error if it failed."""
        told = self._told(command)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.ours(command)],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT,
        )
        assert done.returncode == 0, f"{told}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def serve(self, command: str, *ports: str) -> Process:
        """One that goes on, up to its `&`. `ports` are those of the guide, in the order in which the process says where it listens."""
        told = self._told(command)
        before, _, after = command.partition("&")
        self.ports.update(dict.fromkeys(ports, "0"))
        words = [self.ours(word) for word in shlex.split(before)]
        if words[0] == "python":
            words[0] = sys.executable
        process = self.start(Process, words, cwd=self.folder, env=self._environment())
        for port in ports:
            self.ports[port] = process.line(_LISTENS).group(1)
        if kept := re.search(r"(\w+)=\$!", after):
            self.variables[kept[1]] = process
        assert process.child.poll() is None, f"{told}: ended"
        return process

    def kill(self, command: str) -> Process:
        """`kill -TERM $NAME`."""
        self._told(command)
        _, name, variable = command.split()
        number = signal.SIGKILL if name == "-9" else signal.Signals[f"SIG{name[1:]}"]
        process = self.variables[variable.removeprefix("$")]
        process.signal(number)
        return process

    def _told(self, command: str) -> str:
        """The command, which is to stand in the guide."""
        assert any(command in text for _, text in self.blocks()), f"{self.page} has no {command!r}"
        return f"{self.page}: {command}"

    def _environment(self) -> dict[str, str]:
        binary = pathlib.Path(os.environ["TIDEGATE_BIN"]).resolve()
        tools = [pathlib.Path(sys.executable).parent, binary.parent, ROOT / ".cache" / "prometheus" / "usr" / "bin"]
        path = os.pathsep.join([*map(str, tools), os.environ["PATH"]])
        return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
