"""Hops: functions with ports. The decorators `per_frame`, `per_utterance` and `per_session` make them."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .arrays import rows_on_host
from .batch import Batch, Batcher
from .ports import Port
from .settings import Refused

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_PORTS_MAX = 64

Ports = Port[Any] | Sequence[Port[Any]]
Function = Callable[..., Any]
Parameter = str | int | float | bool


class Shape(enum.Enum):
    """How a function gives its outputs."""

    ASYNC = enum.auto()
    ASYNC_GENERATOR = enum.auto()
    SYNC = enum.auto()
    SYNC_GENERATOR = enum.auto()

    @property
    def is_sync(self) -> bool:
        """It runs in a thread."""
        return self in (Shape.SYNC, Shape.SYNC_GENERATOR)


def shape_of(function: Function) -> Shape:
    """Of a function, a bound method, or an object that can be called."""
    candidates = [function] if inspect.isroutine(function) else [function, getattr(function, "__call__", function)]  # noqa: B004
    if any(inspect.isasyncgenfunction(one) for one in candidates):
        return Shape.ASYNC_GENERATOR
    if any(inspect.iscoroutinefunction(one) for one in candidates):
        return Shape.ASYNC
    if any(inspect.isgeneratorfunction(one) for one in candidates):
        return Shape.SYNC_GENERATOR
    return Shape.SYNC


def takes_context(function: Function) -> bool | None:
    """Whether it takes a second argument; `None` if it cannot be called with one or two."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        # Of some that are written in C nobody knows.
        return False
    places = [one for one in parameters if one.kind in kinds]
    required = [one for one in parameters if one.default is inspect.Parameter.empty]
    named = [one for one in required if one.kind is inspect.Parameter.KEYWORD_ONLY]
    required = [one for one in required if one in places]
    if not places or named or len(required) > 2:
        return None
    return len(places) > 1 and (len(required) == 2 or places[1].name == "context")


@dataclass(frozen=True)
class Hop:
    """A function that the gateway can send frames to. Calling it calls the function."""

    name: str
    """The pipeline's name, by which manifests call it."""
    function: Function
    per: Literal["frame", "utterance", "session"]
    inputs: tuple[Port[Any], ...]
    outputs: tuple[Port[Any], ...]
    deterministic: bool = False
    finals_only: bool = False
    timeout: float | None = None
    queue: int = 64
    queue_bytes: int = 8 << 20
    parallel: int = 1
    batch: Batch | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is no pipeline's name: [a-z][a-z0-9_-]*")
        for ports, word in ((self.inputs, "input"), (self.outputs, "output")):
            names = [port.name for port in ports]
            if len(set(names)) != len(names) or len(names) > _PORTS_MAX:
                raise ValueError(f"{word}s of '{self.name}' need names of their own: {', '.join(names)}")
        if not self.outputs:
            raise ValueError(f"hop '{self.name}' gives nothing")
        if self.queue < 1 or self.queue_bytes < 1 or self.parallel < 1:
            raise ValueError("queue, queue_bytes and parallel are at least 1")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)

    def __get__(self, instance: object | None, owner: type | None = None) -> Hop:
        return self if instance is None else replace(self, function=self.function.__get__(instance, owner))

    @property
    def place(self) -> str:
        """Where its function is written, for messages."""
        function = inspect.unwrap(self.function)
        name = getattr(function, "__qualname__", repr(function))
        code = getattr(function, "__code__", None)
        return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name

    def ready(self) -> Running:
        """What runs it, made once a process. Raises `Refused` if it cannot be called."""
        context = takes_context(self.function)
        if context is None or (self.batch is not None and context):
            wanted = "the list of values" if self.batch else "what comes in, and with the context if it takes a second argument"
            raise Refused(
                f"hop '{self.name}' is {self.place}, whose arguments are {inspect.signature(self.function)}: it is called with {wanted}"
            )
        batcher = None
        if self.batch is not None:
            function = self.function
            if shape_of(function) is Shape.SYNC:
                function = lambda values: rows_on_host(self.function(values))  # noqa: E731
            batcher = Batcher(function, self.batch, self.name)
        shape = Shape.ASYNC if batcher else shape_of(self.function)
        if self.parallel > 1 and shape in (Shape.ASYNC_GENERATOR, Shape.SYNC_GENERATOR):
            raise Refused(f"hop '{self.name}' is {self.place} and gives its outputs one by one: its frames cannot be worked on in parallel")
        return Running(self, batcher or self.function, shape, context, batcher)


@dataclass(frozen=True, slots=True)
class Running:
    """A hop that is served."""

    hop: Hop
    function: Function
    shape: Shape
    context: bool
    batcher: Batcher[Any, Any] | None

    def call(self, value: Any, context: Any) -> Any:
        """Calls the function."""
        return self.function(value, context) if self.context else self.function(value)


def per_frame(
    *,
    takes: Port[Any],
    gives: Ports,
    name: str | None = None,
    deterministic: bool = False,
    finals_only: bool = False,
    batch: Batch | None = None,
    parallel: int | None = None,
    timeout: float | None = None,
    queue: int = 64,
    queue_bytes: int = 8 << 20,
    parameters: Mapping[str, Parameter] | None = None,
) -> Callable[[Function], Hop]:
    """The function is called with each frame's value, and its result is the output; a generator gives several, `None` none.

    What is returned keeps the utterance, revision and finality of its input, so partial texts become partial translations.
    `finals_only` leaves out inputs that are to be replaced. With `batch` the function takes a list of values, from many sessions, and
    gives a list of results, or one array with a row for each. `parallel` frames of one session are worked on at a time; outputs keep
    their order.
    """
    if parallel is None:
        parallel = batch.frames if batch else 1

    def decorate(function: Function) -> Hop:
        return _hop(
            function, "frame", (takes,), gives, name, deterministic, timeout, queue, queue_bytes, parameters, finals_only, parallel, batch
        )

    return decorate


def per_utterance(
    *,
    takes: Port[Any],
    gives: Ports,
    name: str | None = None,
    deterministic: bool = False,
    timeout: float | None = None,
    queue: int = 64,
    queue_bytes: int = 8 << 20,
    parameters: Mapping[str, Parameter] | None = None,
) -> Callable[[Function], Hop]:
    """The function is called once for each utterance, with an `Utterance` to iterate over, and gives `Partial`, `Final` or plain values.

    If another replica has to take over, the gateway sends it the whole utterance again. An interrupt cancels the function.
    """

    def decorate(function: Function) -> Hop:
        return _hop(function, "utterance", (takes,), gives, name, deterministic, timeout, queue, queue_bytes, parameters)

    return decorate


def per_session(
    *,
    takes: Ports,
    gives: Ports,
    name: str | None = None,
    deterministic: bool = False,
    queue: int = 64,
    queue_bytes: int = 8 << 20,
    parameters: Mapping[str, Parameter] | None = None,
) -> Callable[[Function], Hop]:
    """The function is called once for each session, with a `Session` that has the frames of all inputs: whatever the others cannot do."""

    def decorate(function: Function) -> Hop:
        return _hop(function, "session", takes, gives, name, deterministic, None, queue, queue_bytes, parameters)

    return decorate


def _hop(
    function: Function,
    per: Literal["frame", "utterance", "session"],
    takes: Ports,
    gives: Ports,
    name: str | None,
    deterministic: bool,
    timeout: float | None,
    queue: int,
    queue_bytes: int,
    parameters: Mapping[str, Parameter] | None,
    finals_only: bool = False,
    parallel: int = 1,
    batch: Batch | None = None,
) -> Hop:
    own = getattr(function, "__name__", "hop").strip("_").replace("_", "-").lower()
    return Hop(
        name=name or own,
        function=function,
        per=per,
        inputs=_named(takes, "in"),
        outputs=_named(gives, "out"),
        deterministic=deterministic,
        finals_only=finals_only,
        timeout=timeout,
        queue=queue,
        queue_bytes=queue_bytes,
        parallel=parallel,
        batch=batch,
        parameters=dict(parameters or {}),
        description=inspect.getdoc(function) or "",
    )


def _named(ports: Ports, name: str) -> tuple[Port[Any], ...]:
    if isinstance(ports, Port):
        return (ports.named(name),)
    if len(ports) > 1 and not all(port.name for port in ports):
        raise ValueError("of several ports each needs a name")
    return tuple(port.named(name) for port in ports)
