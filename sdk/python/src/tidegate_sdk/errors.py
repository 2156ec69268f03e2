"""Errors as the gateway knows them: a stable code, whose fault it is, and whether a retry can help.

A function raises `HopError` to say what went wrong; anything else that it raises is `remote_execution`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

R = TypeVar("R")

# The codes that a worker has reason to use, with their gRPC status, fault and whether they can be retried (docs/errors.md).
_TABLE: dict[str, tuple[grpc.StatusCode, str, bool]] = {
    "incompatible": (grpc.StatusCode.FAILED_PRECONDITION, "client", False),
    "unknown_pipeline": (grpc.StatusCode.NOT_FOUND, "client", False),
    "unauthenticated": (grpc.StatusCode.UNAUTHENTICATED, "client", False),
    "permission_denied": (grpc.StatusCode.PERMISSION_DENIED, "client", False),
    "overloaded": (grpc.StatusCode.RESOURCE_EXHAUSTED, "worker", True),
    "rate_limited": (grpc.StatusCode.RESOURCE_EXHAUSTED, "client", True),
    "draining": (grpc.StatusCode.UNAVAILABLE, "worker", True),
    "session_expired": (grpc.StatusCode.ABORTED, "client", True),
    "bad_request": (grpc.StatusCode.INVALID_ARGUMENT, "client", False),
    "too_large": (grpc.StatusCode.OUT_OF_RANGE, "client", False),
    "unsupported_media": (grpc.StatusCode.INVALID_ARGUMENT, "client", False),
    "timeout": (grpc.StatusCode.DEADLINE_EXCEEDED, "worker", True),
    "remote_execution": (grpc.StatusCode.INTERNAL, "worker", False),
    "cancelled": (grpc.StatusCode.CANCELLED, "client", False),
}
_DOMAIN = "tidegate.v1"
# Messages are for people; the gateway cuts longer ones too.
_MESSAGE_CHARACTERS = 2000


class HopError(Exception):
    """What a hop answers instead of an output.

    `code` is one of docs/errors.md. `retryable` lets the gateway ask another replica, or this one again: say it of what may pass (a
    full GPU), not of what every replica would answer alike. `fault`: `client` if what was asked cannot be answered, `worker` otherwise.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "remote_execution",
        fault: str | None = None,
        retryable: bool | None = None,
        phase: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        if code not in _TABLE:
            raise ValueError(f"no error code '{code}': there are {', '.join(_TABLE)}")
        self.status, usual_fault, usual_retry = _TABLE[code]
        self.code = code
        self.fault = usual_fault if fault is None else fault
        self.retryable = usual_retry if retryable is None else retryable
        self.phase = phase
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """For people, in full sentences or nearly."""
        return str(self)[:_MESSAGE_CHARACTERS]

    def details(self) -> bytes:
        """`google.rpc.Status` with `ErrorInfo`, as the gateway's own errors have it."""
        metadata = {"fault": self.fault, "retryable": "true" if self.retryable else "false"}
        if self.phase:
            metadata["phase"] = self.phase
        packed = [any_pb2.Any()]
        packed[0].Pack(error_details_pb2.ErrorInfo(reason=self.code, domain=_DOMAIN, metadata=metadata))
        if self.retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromMicroseconds(round(self.retry_after * 1e6))
            packed.append(any_pb2.Any())
            packed[1].Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        number = self.status.value[0]
        packed_status: bytes = status_pb2.Status(code=number, message=self.message, details=packed).SerializeToString()
        return packed_status


def of_exception(error: BaseException) -> HopError:
    """What a function raised, as what the caller hears."""
    if isinstance(error, HopError):
        return error
    said = str(error)
    name = type(error).__name__
    return HopError(f"{name}: {said}" if said else name)


def in_future(function: Callable[[], R]) -> R:
    """Calls what a future waits for. `StopIteration` cannot be raised out of one: whoever waits for it would do so for good."""
    try:
        return function()
    except StopIteration as error:
        raise RuntimeError("StopIteration: next() found nothing more") from error
