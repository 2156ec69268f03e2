"""How hops are served, and what is refused before anything listens."""

from __future__ import annotations

import ipaddress
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
