"""What cannot be served: one line that says what, where, and how to mend it, before anything listens."""

from __future__ import annotations

import asyncio
import pathlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import services
from certificates import make_certificates
from processes import WAIT

from tidegate_sdk import Refused, Server, Settings, Tls
from tidegate_sdk.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["services:translate", "--listen", "0.0.0.0:0"], "give it TLS and a token"),
        (["services:translate", "--metrics", "0.0.0.0:0"], "can be read by other machines"),
        (["services:nothing"], "has no 'nothing'"),
        (["no_such_module"], "there is no module 'no_such_module'"),
        (["services:translate", "services:translate"], "names of their own"),
        (["services:translate", "--tls-cert", "x"], "goes with --tls-key"),
        (["processes:Client"], "has no hop"),
        (["services:Lacking"], "tidegate_sdk: the model is missing: fetch it first"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 2
    assert said in capsys.readouterr().err


HEAD = "from tidegate_sdk import *\n"
HOP = "@per_frame(takes=Text(), gives=Text(){})\ndef {}({}):\n    return text\n"
"""The options, the name and the arguments of a function that begins two lines below the one before."""


def refused(folder: pathlib.Path, *arguments: str, command: str = "serve") -> list[str]:
    """The lines that a service says which ends at once."""
    ended = subprocess.run(
        [sys.executable, "-m", "tidegate_sdk", command, *arguments], cwd=folder, capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    return ended.stderr.splitlines()


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A service's, with a module that can be served."""
    (tmp_path / "good.py").write_text(HEAD + HOP.format("", "hop", "text"))
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.parametrize("option", ["--listen", "--metrics"])
def test_an_address_that_is_taken_is_named(folder: pathlib.Path, taken: str, option: str) -> None:
    other = "--metrics" if option == "--listen" else "--listen"
    said = refused(folder, "good", option, taken, other, "127.0.0.1:0")
    why = "address already in use; is another worker there?"
    assert said == [f"tidegate_sdk: {taken} cannot be listened on: {why} (another address: {option} HOST:PORT)"]


def test_an_address_that_is_not_this_machine_s_is_named(folder: pathlib.Path) -> None:
    [said] = refused(folder, "good", "--insecure", "--listen", "192.0.2.1:7001")
    assert "192.0.2.1:7001 cannot be listened on: cannot assign requested address (another" in said


@pytest.mark.parametrize("unusable_first", [True, False])
def test_one_address_of_a_name_is_enough_unless_one_is_taken(monkeypatch: pytest.MonkeyPatch, taken: str, unusable_first: bool) -> None:
    """As where `localhost` is `::1` as well, and there is no IPv6."""
    hosts = ["192.0.2.1", "127.0.0.1"] if unusable_first else ["127.0.0.1", "192.0.2.1"]

    def addresses(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in hosts]

    async def served(port: str) -> str:
        async with Server([services.translate], Settings(listen=f"localhost:{port}")) as server:
            return server.address

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    assert asyncio.run(served("0")).startswith("localhost:")
    port = taken.rpartition(":")[2]
    with pytest.raises(Refused, match=f"localhost:{port} cannot be listened on: address already in use"):
        asyncio.run(served(port))
    hosts.remove("127.0.0.1")
    with pytest.raises(Refused, match="localhost:0 cannot be listened on: cannot assign requested address"):
        asyncio.run(served("0"))


def test_a_comment_in_a_certificate_s_file_may_be_in_any_script(folder: pathlib.Path) -> None:
    make_certificates(folder)
    pems = {file.stem: file.read_bytes() for file in folder.glob("*.pem")}
    commented = {name: "# Türschlüssel, ключ\n".encode() + pem for name, pem in pems.items()}
    tls = Tls(commented["server"], commented["server-key"], commented["ca"])
    client = grpc.ssl_channel_credentials(pems["ca"], pems["client-key"], pems["client"])

    async def connected() -> None:
        async with Server([services.translate], Settings(tls=tls)) as server, grpc.aio.secure_channel(server.address, client) as channel:
            await asyncio.wait_for(channel.channel_ready(), WAIT)

    asyncio.run(connected())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("server", "server.pem: there is no certificate in it"),
        ("server-key", "server-key.pem: there is no private key in it"),
        ("ca", "ca.pem: there is no certificate in it"),
        ("mixed", "server-key.pem is not the key of the first certificate in "),
        ("broken", "server-key.pem cannot be used: "),
        ("encrypted", "server-key.pem: the private key is encrypted; write it without its passphrase"),
    ],
)
def test_a_tls_file_that_cannot_be_used_is_named(folder: pathlib.Path, wrong: str, said: str) -> None:
    make_certificates(folder)
    key = folder / "server-key.pem"
    if wrong == "mixed":
        shutil.copy(folder / "client-key.pem", key)
    elif wrong == "broken":
        key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    elif wrong == "encrypted":
        make_certificates(folder, passphrase=b"secret")
    else:
        (folder / f"{wrong}.pem").write_text("no PEM")
    files = {name: str(folder / f"{name}.pem") for name in ("server", "server-key", "ca")}
    lines = refused(folder, "good", "--tls-cert", files["server"], "--tls-key", files["server-key"], "--client-ca", files["ca"])
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"tidegate_sdk: {folder}")
    assert said in lines[0]


@pytest.mark.parametrize("command", ["serve", "describe"])
def test_two_hops_of_one_name_are_refused_with_both_places(folder: pathlib.Path, command: str) -> None:
    (folder / "two.py").write_text(HEAD + HOP.format(", name='same'", "one", "text") + HOP.format(", name='same'", "two", "text"))
    assert refused(folder, "two", command=command) == [
        f"tidegate_sdk: hops need names of their own: 'same' is that of one ({folder}/two.py:2) and of two ({folder}/two.py:5); "
        "give one of them another by name="
    ]


def test_one_hop_under_two_names_is_one(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "class Alias:\n    @per_frame(takes=Text(), gives=Text())\n    def hop(self, text):\n        return text\n    again = hop\n"
    (folder / "alias_of_one.py").write_text(HEAD + source)
    sys.path.insert(0, str(folder))
    try:
        assert main(["describe", "alias_of_one:Alias"]) == 0
    finally:
        sys.path.remove(str(folder))
    assert capsys.readouterr().out.count("- id: hop") == 1


@pytest.mark.parametrize(
    ("options", "arguments", "wanted"),
    [
        ("", "text, context, more", "what comes in, and with the context"),
        ("", "", "what comes in, and with the context"),
        ("", "text, *, voice", "what comes in, and with the context"),
        (", batch=Batch(frames=4)", "texts, context", "the list of values"),
    ],
)
def test_a_function_that_cannot_be_called_is_shown_with_its_line(folder: pathlib.Path, options: str, arguments: str, wanted: str) -> None:
    (folder / "odd.py").write_text(HEAD + HOP.format(options, "odd", arguments))
    [said] = refused(folder, "odd")
    assert said.startswith(
        f"tidegate_sdk: hop 'odd' is odd ({folder}/odd.py:2), whose arguments are ({arguments}): it is called with {wanted}"
    )


MODEL = (
    "class Model:\n    def __init__(self{}):\n        {}\n"
    "    @per_frame(takes=Text(), gives=Text())\n    def hop(self, text):\n        return text\n"
)


@pytest.mark.parametrize(
    ("source", "place", "said"),
    [
        ("x = 1\nraise RuntimeError('no GPU')\n", "bad", "module 'bad' cannot be imported: {}/bad.py:3: RuntimeError: no GPU"),
        ("import json\njson.loads('{')\n", "bad", "module 'bad' cannot be imported: {}/bad.py:3: JSONDecodeError: "),
        ("def f(:\n", "bad", "module 'bad' cannot be imported: {}/bad.py:2: SyntaxError: "),
        (
            "import no_such_thing\n",
            "bad",
            "module 'bad' cannot be imported: {}/bad.py:2: ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        (
            HOP.format(", name='NO'", "f", "text"),
            "bad",
            "module 'bad' cannot be imported: {}/bad.py:2: ValueError: 'NO' is no pipeline's name",
        ),
        (MODEL.format("", "open('/nowhere/model')"), "bad:Model", "bad:Model cannot be made: {}/bad.py:4: FileNotFoundError: "),
        (MODEL.format(", path", "pass"), "bad:Model", "bad:Model cannot be made: TypeError: "),
        (
            MODEL.format("", "pass")
            + "    async def __aenter__(self):\n        raise OSError('no model')\n    async def __aexit__(self, *_):\n        pass\n",
            "bad:Model",
            "bad:Model cannot be started: {}/bad.py:9: OSError: no model",
        ),
    ],
)
def test_what_the_service_s_own_code_raises_is_said_with_its_line(folder: pathlib.Path, source: str, place: str, said: str) -> None:
    (folder / "bad.py").write_text(HEAD + source)
    lines = refused(folder, place)
    assert lines[-1].startswith(f"tidegate_sdk: {said.format(folder)}"), lines
    # Its own traceback may be above; nothing of what called it.
    assert not any("tidegate_sdk/" in line or "importlib" in line for line in lines), lines
