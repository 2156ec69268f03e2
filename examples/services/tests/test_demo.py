"""`make demo`, but for the installing and building."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request

import pytest
from conftest import PIPELINES, Start
from processes import WAIT, Process

DEMO = [sys.executable, "-m", "tidegate_services.demo"]


def test_the_demo_starts_all_says_where_it_is_and_leaves_nothing_behind(start: Start) -> None:
    binary = os.environ["TIDEGATE_BIN"]
    # With an answer at the other end, or none, according to what runs: no window opens in a test.
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    demo = start(Process, [*DEMO, binary, "--listen", "127.0.0.1:0", "--pipelines", str(PIPELINES)], env=environment)
    page = demo.line(r"The interpreter: (http\S+)\?pipeline=interpreter").group(1)
    with urllib.request.urlopen(f"{page}v1/pipelines/interpreter", timeout=WAIT) as answer:
        hops = json.load(answer)
    assert hops["name"] == "interpreter"
    # Everything that it needs is there: a session can be opened and ended.
    body = json.dumps({"inputs": {"mic": []}}).encode()
    request = urllib.request.Request(f"{page}v1/pipelines/interpreter/execute", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT) as answer:
        assert answer.status == 200
    # As docs/openai.md says: the model is a pipeline's name.
    body = json.dumps({"model": "speak", "voice": "default", "input": "Hello there.", "response_format": "pcm"}).encode()
    request = urllib.request.Request(f"{page}v1/audio/speech", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT) as answer:
        assert len(answer.read()) > 24_000, "half a second of speech"
    demo.signal(signal.SIGINT)
    assert demo.ended() == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page, timeout=WAIT)
    processes = [line for line in demo.lines if "serving" in line]
    assert len(processes) == 4


def test_a_demo_whose_address_another_has_says_how_to_give_it_another(start: Start) -> None:
    binary = os.environ["TIDEGATE_BIN"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        demo = start(Process, [*DEMO, binary, "--listen", f"127.0.0.1:{taken.getsockname()[1]}"])
        demo.line(r"gateway \| .*another program has its port")
        demo.line(r'demo: gateway has ended before it was ready.*make demo ARGS="--listen 127.0.0.1:9090"')
        assert demo.ended() == 1


def test_the_demo_says_which_part_could_not_start(start: Start) -> None:
    demo = start(Process, [*DEMO, "/nowhere/tidegate"], env={**os.environ, "APERTIUM_MODES": "/nowhere"})
    demo.line(r"apt-get install apertium")
    demo.line(r"demo: translate has ended before it was ready")
    assert demo.ended() == 1
