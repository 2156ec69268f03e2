"""The guides of docs/guides, followed as a new user would, but for what takes root or the network."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import secrets
import socket
import subprocess
import time
import urllib.request
from typing import Any

import pytest
from conftest import Start
from guides import ROOT, Guide, blocks_of
from processes import WAIT, Gateway, Process, Worker
from test_page import PEERS, spoken

DEPLOY = ROOT / "deploy"


_FOLDERS = (".", "docs", "docs/guides", "examples", "examples/gpu", "examples/services", "sdk/python", "web", "web/client")
PAGES = [str(page.relative_to(ROOT)) for folder in _FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_in_a_page_can_be_read_by_what_it_is_for(page: str, tmp_path: pathlib.Path) -> None:
    for language, text in blocks_of(ROOT / page):
        match language:
            case "python":
                compile(text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            case "sh":
                done = subprocess.run(["bash", "-n"], input=text, stderr=subprocess.PIPE, text=True, timeout=WAIT)
                assert done.returncode == 0, f"{done.stderr}\n{text}"
            case "yaml" if "version: tidegate/v1" in text and "edges:" in text:
                (tmp_path / "manifest.yaml").write_text(text)
                command = [os.environ["TIDEGATE_BIN"], "check", "manifest.yaml"]
                done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT)
                assert done.returncode == 0, f"{done.stdout}\n{text}"


def said(text: str) -> list[str]:
    """The texts among what `tidegate run` printed."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line["frame"]["text"]["text"] for line in lines]


def test_a_service_team_makes_its_function_a_hop(start: Start, tmp_path: pathlib.Path) -> None:
    guide = Guide("service.md", tmp_path, start)
    guide.run("mkdir pipelines")
    guide.write("shout.py")
    first = "python -m tidegate_sdk serve shout:shout --listen 127.0.0.1:7101 --metrics 127.0.0.1:9101 & FIRST=$!"
    guide.serve(first, "9101", "7101")
    guide.serve("python -m tidegate_sdk serve shout:shout --listen 127.0.0.1:7102 &", "7102")
    described = guide.run("python -m tidegate_sdk describe shout:shout")
    manifest = guide.write("pipelines/loud.yaml")
    for line in re.findall(r"(?:in|out)puts: .*", described):
        assert line in manifest
    guide.run("tidegate check pipelines/loud.yaml")
    shown = guide.run(r"printf 'hello\nworld\n' | tidegate run pipelines/loud.yaml --in -")
    assert said(shown) == said(guide.block('{"frame":{"port":"loud"')) == ["HELLO!", "WORLD!"]
    # Its columns are those of the guide's.
    assert re.search(r"HOP +TYPE +IN +OUT +DROPPED +QUEUE P50", shown), shown

    guide.kill("kill -9 $FIRST").ended()
    assert said(guide.run(r"printf 'still\nthere\n' | tidegate run pipelines/loud.yaml --in -")) == ["STILL!", "THERE!"]
    guide.serve(first, "9101", "7101")
    guide.write("pipelines/loud.yaml")
    guide.serve("tidegate serve --listen 127.0.0.1:8085 --media 127.0.0.1:0 --pipelines pipelines &", "8085")
    ask = 'curl -H \'content-type: application/json\' -d \'{"inputs":{"text":[{"text":{"text":"%s"}}]}}\' http://127.0.0.1:8085/v1/pipelines/loud/execute'
    assert '"HI!"' in guide.run(ask % "hi")
    assert 'tidegate_hop_frames_total{pipeline="loud",hop="shout"' in guide.run("curl -s http://127.0.0.1:8085/metrics | grep shout")
    assert 'hop="shout"' in guide.run("curl -s http://127.0.0.1:9101/metrics | grep tidegate_worker")
    leaving = guide.kill("kill -TERM $FIRST")
    assert '"STILL HI!"' in guide.run(ask % "still hi")
    assert leaving.ended() == 0

    guide.serve(first, "9101", "7101")
    guide.write("stress.py")
    guide.serve("python -m tidegate_sdk serve stress:stress --listen 127.0.0.1:7103 --metrics 127.0.0.1:9103 &", "9103", "7103")
    guide.write("pipelines/stressed.yaml")
    shown = guide.run(r"printf 'hello\nworld\n' | tidegate run pipelines/stressed.yaml --in -")
    assert said(shown) == said(guide.block('{"frame":{"port":"stressed"')) == ["*HELLO!*", "*WORLD!*"]
    assert 'tidegate_worker_batch_frames_count{hop="stress"}' in guide.run("curl -s http://127.0.0.1:9103/metrics | grep batch_frames")


def answered(guide: Guide, token: str, status: int) -> None:
    """Waits until the list of sessions is answered so with this token."""
    command = f"curl -s -o /dev/null -w '%{{http_code}}' --cacert secrets/cert.pem -H 'authorization: Bearer {token}' {guide.ours('https://localhost:8443')}/v1/sessions"
    by = time.monotonic() + WAIT
    while (got := subprocess.check_output(["bash", "-c", command], cwd=guide.folder, text=True)) != str(status):
        assert time.monotonic() < by, f"{got}, never {status}"
        time.sleep(0.1)


def asked(prometheus: str, path: str) -> Any:
    """What Prometheus says."""
    with urllib.request.urlopen(f"http://127.0.0.1:{prometheus}/api/v1/{path}", timeout=WAIT) as answer:
        return json.load(answer)["data"]


def test_an_operator_runs_it_watches_it_and_changes_it(start: Start, tmp_path: pathlib.Path) -> None:
    guide = Guide("operator.md", tmp_path, start, ports={"8443": "0"})
    made = guide.block("openssl req")
    guide.run(made)
    shipped = (DEPLOY / "tidegate.yaml").read_text()
    assert shipped.endswith(guide.write("tidegate.yaml").split("\n", 1)[1])
    shown = guide.run("tidegate serve --config tidegate.yaml --print-config")
    web = (tmp_path / "secrets" / "web").read_text().strip()
    assert "0.0.0.0:0" in shown
    assert web not in shown
    gateway = guide.serve("tidegate serve --config tidegate.yaml & GATEWAY=$!", "8443")
    assert "ready" in guide.run("curl --cacert secrets/cert.pem https://localhost:8443/readyz")
    sessions = 'curl --cacert secrets/cert.pem -H "authorization: Bearer $(cat secrets/%s)" https://localhost:8443/v1/sessions'
    assert '"active":0,"limit":200' in guide.run(sessions % "ops")
    assert '"status":403' in guide.run(sessions % "web")

    # Prometheus with the shipped files, but oftener.
    watched = (DEPLOY / "prometheus.yml").read_text().replace("15s", "250ms")
    (tmp_path / "prometheus.yml").write_text(guide.ours(watched))
    guide.run("promtool check config prometheus.yml")
    guide.run("promtool test rules alerts_test.yml")
    [command] = [line for line in guide.block("prometheus --config.file").splitlines() if line.startswith("prometheus ")]
    guide.serve(command, "9090").line("ready to receive web requests")
    by = time.monotonic() + WAIT
    while [one["value"][1] for one in asked(guide.ports["9090"], "query?query=up")["result"]] != ["1"]:
        assert time.monotonic() < by, asked(guide.ports["9090"], "targets")
        time.sleep(0.1)
    [group] = asked(guide.ports["9090"], "rules")["groups"]
    alerts = {rule["name"] for rule in group["rules"]}
    assert alerts == set(re.findall(r"`(Tidegate\w+)`", (ROOT / "docs/guides/operator.md").read_text()))

    before = (tmp_path / "secrets" / "ops").read_text().strip()
    guide.run("openssl rand -hex 32 > secrets/ops")
    answered(guide, before, 401)
    answered(guide, (tmp_path / "secrets" / "ops").read_text().strip(), 200)
    guide.kill("kill -HUP $GATEWAY")
    gateway.line("pipelines reloaded")
    guide.kill("kill -TERM $GATEWAY")
    assert gateway.ended() == 0


SUDO = """#!/usr/bin/env bash
case $1 in useradd|chown|systemctl) exit;; esac
words=()
for word; do
  case $word in
    /etc/*|/usr/*) words+=("$INTO$word");;
    */target/release/tidegate) words+=("$BUILT");;
    *) words+=("$word");;
  esac
done
exec "${words[@]}"
"""
"""Makes no user, asks no systemd, and puts what is for the machine into a folder."""


def test_the_steps_with_sudo_leave_what_the_unit_starts(start: Start, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into, tools = tmp_path / "into", tmp_path / "tools"
    for folder in ("usr/local/bin", "etc/systemd/system"):
        (into / folder).mkdir(parents=True)
    tools.mkdir()
    (tools / "sudo").write_text(SUDO)
    (tools / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("INTO", str(into))
    monkeypatch.setenv("BUILT", str(pathlib.Path(os.environ["TIDEGATE_BIN"]).resolve()))
    guide = Guide("operator.md", tmp_path, start)
    guide.run(guide.block("openssl req"))
    for line in guide.block("useradd").splitlines():
        if line.startswith("sudo "):
            guide.run(line)
    unit = dict(re.findall(r"^(\w+)=(.*)$", (into / "etc/systemd/system/tidegate.service").read_text(), re.MULTILINE))
    folder = into / unit["WorkingDirectory"].lstrip("/")
    modes = {name: (folder / name).stat().st_mode & 0o777 for name in ("tidegate.yaml", "pipelines", "secrets", "secrets/key.pem")}
    assert modes == {"tidegate.yaml": 0o640, "pipelines": 0o750, "secrets": 0o750, "secrets/key.pem": 0o640}
    program, *arguments = unit["ExecStart"].split()
    shown = subprocess.check_output([str(into / program.lstrip("/")), *arguments, "--print-config"], cwd=folder, text=True, timeout=WAIT)
    assert "0.0.0.0:8443" in shown


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: pathlib.Path) -> None:
    # It looks whether the program is there.
    binary = str(pathlib.Path(os.environ["TIDEGATE_BIN"]).resolve())
    unit = tmp_path / "tidegate.service"
    unit.write_text((DEPLOY / "tidegate.service").read_text().replace("/usr/local/bin/tidegate", binary))
    command = ["systemd-analyze", "verify", str(unit)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT)
    assert (done.returncode, [line for line in done.stdout.splitlines() if "tidegate.service" in line]) == (0, []), done.stdout


def free_port() -> str:
    """One that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


class OwnPage(Guide):
    """The folder of a reader of the browser's guide, and what it serves."""

    def __init__(self, folder: pathlib.Path, start: Start) -> None:
        super().__init__("browser.md", folder, start, ports={"5174": free_port()})
        # What `npm install PATH/TO/tidegate/web/client vite@6` makes of a folder; the network is not asked.
        modules = folder / "node_modules"
        (modules / "@tidegate").mkdir(parents=True)
        (modules / "@tidegate" / "client").symlink_to(ROOT / "web" / "client")
        for name in ("index.html", "server.mjs", "vite.config.js"):
            self.write(name)
        (folder / "server.mjs").write_text((folder / "server.mjs").read_text().replace("listen(5174", f"listen({self.ports['5174']}"))
        # Where CI is set, Vite colours what it says, even the digits of its port.
        plain = {**os.environ, "NO_COLOR": "1"}
        vite = start(Process, ["node", str(ROOT / "web/node_modules/vite/bin/vite.js"), "--host", "127.0.0.1"], cwd=folder, env=plain)
        self.origin = vite.line(r"(http://127\.0\.0\.1:\d+)").group(1)

    def talks_to(self, gateway: str) -> None:
        """Writes the script as it stands, for the gateway at this address."""
        self.ports["8080"] = gateway.rpartition(":")[2]
        self.write("voice.js")

    def asks_for_keys(self, gateway: str, token: str) -> None:
        """As in the guide's last section: the page's own server has the token, and the script asks it for a key."""
        self.talks_to(gateway)
        script = (self.folder / "voice.js").read_text()
        asking = self.ours(self.block('await fetch("/key"')).split("  // … as before")[0]
        begins = script.index('element("talk").onclick')
        goes_on = script.index("  voice.addEventListener", begins)
        without = re.sub(r"const client = .*\n", "", script[:begins], count=1)
        (self.folder / "voice.js").write_text(without + asking + script[goes_on:])
        self.start(Process, ["node", "server.mjs"], cwd=self.folder, env={**os.environ, "TOKEN": token, "GATEWAY": f"http://{gateway}"})
        by = time.monotonic() + WAIT
        with socket.socket() as one:
            while one.connect_ex(("127.0.0.1", int(self.ports["5174"]))) != 0:
                assert time.monotonic() < by, "server.mjs never listens"
                time.sleep(0.05)

    def visited(self, *how: str) -> Any:
        """What a person at the page met."""
        command = ["node", "guide.mjs", self.origin, str(spoken(self.folder / "said.wav")), *how]
        done = subprocess.run(command, cwd=PEERS, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
        report = json.loads(done.stdout)
        assert report["problems"] == [], report
        return report


@pytest.fixture
def own_page(start: Start, tmp_path: pathlib.Path) -> OwnPage:
    (tmp_path / "none").mkdir()
    return OwnPage(tmp_path, start)


def test_a_browser_developer_has_a_voice_in_a_page_of_his_own(
    start: Start, workers: dict[str, Worker], own_page: OwnPage, tmp_path: pathlib.Path
) -> None:
    token = secrets.token_hex(32)
    addresses = {variable: f"http://{worker.address}" for variable, worker in workers.items()}
    gateway = start(Gateway, tmp_path / "none", [], TIDEGATE_ORIGINS=own_page.origin, TIDEGATE_AUTH_TOKEN=token, **addresses)
    own_page.asks_for_keys(gateway.address, token)
    report = own_page.visited()
    assert re.search(r"captions: .*(fox|lazy|dog)", " ".join(report["captions"]), re.IGNORECASE), report
    assert re.search(r"translation: .*(zorro|perezoso|perro)", " ".join(report["captions"]), re.IGNORECASE), report
    assert report["heard"] > 0, report
    assert report["state"] == "closed"


def test_a_page_says_that_there_is_no_gateway(own_page: OwnPage, nobody: str) -> None:
    own_page.talks_to(nobody)
    assert own_page.visited("refused")["state"] == f"unreachable: no answer from {nobody}"


def test_a_page_says_that_the_gateway_does_not_know_its_origin(start: Start, own_page: OwnPage, tmp_path: pathlib.Path) -> None:
    gateway = start(Gateway, tmp_path / "none", [])
    own_page.talks_to(gateway.address)
    state = own_page.visited("refused")["state"]
    assert state.startswith(f"unreachable: {gateway.address} answers, but not to pages of {own_page.origin}: ")
    assert f"TIDEGATE_ORIGINS={own_page.origin}" in state


def test_a_page_says_that_it_needs_a_key(start: Start, own_page: OwnPage, tmp_path: pathlib.Path) -> None:
    gateway = start(Gateway, tmp_path / "none", [], TIDEGATE_ORIGINS=own_page.origin, TIDEGATE_AUTH_TOKEN=secrets.token_hex(32))
    own_page.talks_to(gateway.address)
    assert own_page.visited("refused")["state"].startswith("unauthenticated: ")


def test_a_page_says_that_its_own_server_has_another_token(start: Start, own_page: OwnPage, tmp_path: pathlib.Path) -> None:
    gateway = start(Gateway, tmp_path / "none", [], TIDEGATE_ORIGINS=own_page.origin, TIDEGATE_AUTH_TOKEN=secrets.token_hex(32))
    own_page.asks_for_keys(gateway.address, secrets.token_hex(32))
    assert re.match(r'no key: 401 .*"unauthenticated"', own_page.visited("refused")["state"])


def test_a_page_says_that_its_own_server_finds_no_gateway(own_page: OwnPage, nobody: str) -> None:
    own_page.asks_for_keys(nobody, secrets.token_hex(32))
    assert own_page.visited("refused")["state"].startswith(f"no key: 502 no gateway at http://{nobody}: ")
