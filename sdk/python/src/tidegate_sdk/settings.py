"""How hops are served, and what is refused before anything listens."""

from __future__ import annotations

import ipaddress
import pathlib
import ssl
import tempfile
from dataclasses import dataclass, field


class Refused(Exception):
    """What cannot be served: settings that cannot be or would be unsafe. A service raises it while it is made, of a model or a program
    that is missing: its message is printed, and the process ends."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts. With `client_ca`, clients must show a certificate that it signed (mTLS)."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None
    files: tuple[str, str, str] = ("certificate", "key", "client_ca")
    """What they are called in messages: the files that they come from."""

    def context(self) -> ssl.SSLContext:
        """For the standard library's servers. Raises `Refused` with what is wrong and where; gRPC says only that it cannot listen."""
        certificate, key, client_ca = self.files
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.certificate, certificate)
        if b"PRIVATE KEY-----" not in self.key:
            raise Refused(f"{key}: there is no private key in it; PEM begins with -----BEGIN PRIVATE KEY-----")

        def encrypted() -> str:
            raise Refused(f"{key}: the private key is encrypted; write it without its passphrase: openssl pkey -in {key} -out FILE")

        # The standard library reads keys from files only.
        with tempfile.TemporaryDirectory() as folder:
            chain_file, key_file = pathlib.Path(folder, "chain.pem"), pathlib.Path(folder, "key.pem")
            chain_file.write_bytes(self.certificate)
            key_file.touch(mode=0o600)
            key_file.write_bytes(self.key)
            try:
                context.load_cert_chain(chain_file, key_file, encrypted)
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise Refused(f"{key} is not the key of the first certificate in {certificate}") from error
                raise Refused(f"{certificate} with {key} cannot be used: {_reason(error)}") from error
        if self.client_ca is not None:
            _trust(context, self.client_ca, client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a `Server`. The defaults serve this machine only."""

    listen: str = "127.0.0.1:0"
    metrics: str | None = None
    """Address of `/metrics`; `None`: none."""
    sessions: int = 64
    """Sessions and calls at a time; the next is refused with `overloaded`, and the gateway takes another replica."""
    threads: int = 32
    """For synchronous functions and blocking work. Those that wait for their input have one a session beside them."""
    message_bytes: int = 16 << 20
    grace: float = 30.0
    """Seconds that sessions have to end or move after SIGTERM."""
    tokens: tuple[str, ...] = ()
    tls: Tls | None = None
    insecure: bool = False
    """Serves an address that others reach without TLS and a token."""
    open_seconds: float = field(default=10.0)
    """From a stream's start to its first message."""

    def check(self) -> None:
        """Raises `Refused`."""
        if self.tls is not None:
            self.tls.context()
        if self.sessions < 1 or self.threads < 1 or self.message_bytes < 1024:
            raise Refused("sessions and threads are at least 1, message_bytes at least 1024")
        if any(not token.strip() for token in self.tokens):
            raise Refused("an empty token would let everybody in")
        guarded = self.tls is not None and (self.tokens or self.tls.client_ca is not None)
        if not self.insecure and not guarded and not is_loopback(self.listen):
            raise Refused(
                f"{self.listen} can be reached by other machines: give it TLS and a token or a client CA, or say --insecure behind "
                "something that guards it"
            )
        mutual = self.tls is not None and self.tls.client_ca is not None
        if self.metrics is not None and not self.insecure and not mutual and not is_loopback(self.metrics):
            raise Refused(f"metrics at {self.metrics} can be read by other machines: give a client CA, or say --insecure")


def host_and_port(address: str) -> tuple[str, int]:
    """Of `127.0.0.1:7001` or `[::1]:7001`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise Refused(f"'{address}' is no address: write HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    host, _ = host_and_port(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _trust(context: ssl.SSLContext, pem: bytes, file: str) -> None:
    try:
        # Comments around the certificates may be in any script.
        context.load_verify_locations(cadata=pem.decode("ascii", errors="ignore"))
    except (ssl.SSLError, ValueError) as error:
        why = f" ({_reason(error)})" if isinstance(error, ssl.SSLError) else ""
        raise Refused(f"{file}: there is no certificate in it{why}; PEM begins with -----BEGIN CERTIFICATE-----") from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
