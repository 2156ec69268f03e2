"""One trace of a conversation: its session, its turn, the services' parts in both, and what the services log."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from conftest import SHIPPED, Start
from processes import Gateway, Process, Worker
from recordings import english, say

ROOT = pathlib.Path(__file__).resolve().parents[3]
COLLECTOR = [str(ROOT / ".cache" / "venv" / "bin" / "python"), "-u", str(ROOT / "tests" / "peers" / "collector.py")]
HOPS = {"stt": "STT_WORKER", "translate": "TRANSLATE_WORKER", "speak": "SPEAK_WORKER"}


def test_a_conversation_is_one_trace_that_services_log(start: Start, workers: dict[str, Worker], tmp_path: pathlib.Path) -> None:
    collector: Process = start(Process, COLLECTOR)
    address = collector.line(r"listening on (\S+)").group(1)
    addresses = {variable: f"http://{worker.address}" for variable, worker in workers.items()}
    gateway: Gateway = start(Gateway, tmp_path, [SHIPPED["interpreter"]], OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{address}", **addresses)
    with gateway.session("interpreter", parameters={"hangover": "1s"}) as client:
        say(client, english()[-1].samples())
        client.send("end")
        client.rest()
    # The last of them.
    collector.line('"name": "session interpreter"')
    spans: list[dict[str, Any]] = [json.loads(line) for line in list(collector.lines) if line.startswith("{")]
    (trace,) = {span["trace_id"] for span in spans}
    (session,) = [span for span in spans if span["name"] == "session interpreter"]
    (turn,) = [span for span in spans if span["name"] == "turn"]
    assert session["attributes"]["tidegate.outcome"] == "finished", session
    assert turn["parent"] == session["span_id"], spans
    for hop, variable in HOPS.items():
        (of_session,) = children(spans, session, f"hop {hop}")
        (of_turn,) = children(spans, turn, f"hop {hop}")
        assert of_session["attributes"]["tidegate.endpoint"] == addresses[variable], of_session
        assert of_turn["attributes"]["tidegate.hop.service_seconds"] > 0, of_turn
        assert turn["attributes"][f"tidegate.turn.{hop}.first_output_seconds"] > 0, turn
        workers[variable].line(f"hop '{hop}' ended .* trace_id={trace} span_id={of_session['span_id']}")
    # What docs/voice.md takes the parts of a turn from: each output's first frame after the end of the utterance, in the order of the hops.
    waits = [turn["attributes"][f"tidegate.turn.{output}.latency_seconds"] for output in ("captions", "translation", "speaker")]
    assert 0 < waits[0] < waits[1] < waits[2], turn


def children(spans: list[dict[str, Any]], parent: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Those of a span that are called so."""
    return [span for span in spans if span["parent"] == parent["span_id"] and span["name"] == name]
