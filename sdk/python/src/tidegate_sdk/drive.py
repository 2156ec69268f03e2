"""Runs a hop's function over a session: what is called when, and what becomes of its outputs."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import aclosing
from types import CoroutineType, coroutine
from typing import Any

from .arrays import on_host
from .context import Context, enter
from .errors import HopError, in_future
from .exchange import Exchange
from .hop import Shape
from .item import Item
from .scope import Scope
from .streams import Session, Utterance
from .trace import begin
from .values import REPLACING, Final, Out

_DONE = object()
# A frame, how many interrupts there had been, and what comes of it.
_Computed = tuple[Item, int, "asyncio.Task[tuple[bool, Any]]"]


async def drive(exchange: Exchange) -> None:
    """Until all inputs have ended and all was said."""
    # For what functions log that ask for no context.
    begin(Context(exchange.info, None, lambda: exchange.closed))
    match exchange.hop.per:
        case "frame" if exchange.hop.parallel > 1:
            await _frames_in_parallel(exchange)
        case "frame":
            await _frames(exchange)
        case "utterance":
            await _utterances(exchange)
        case "session":
            await _session(exchange)


def _scope(exchange: Exchange, item: Item | None) -> Scope:
    return Scope(exchange.scopes, item.deadline if item else None, exchange.hop.timeout)


def _context(exchange: Exchange, item: Item | None, scope: Scope) -> Context:
    frame = item.frame() if item is not None else None
    context = Context(exchange.info, frame, lambda: exchange.closed or scope.why is not None)
    enter(context)
    return context


def _account(exchange: Exchange, scope: Scope) -> None:
    """What it means that a call was cut short."""
    if scope.why == "timeout":
        limit = exchange.hop.timeout or 0
        raise HopError(f"the function took longer than {limit:g} s", code="timeout", phase="call")
    if scope.why is not None:
        exchange.figures.drop(scope.why)


# Frame by frame.


def _wanted(exchange: Exchange, item: Item) -> bool:
    message = item.message
    if exchange.hop.finals_only and message.utterance and not message.final:
        exchange.figures.drop("superseded")
        return False
    deadline = item.deadline
    if deadline is not None and deadline <= time.monotonic():
        exchange.figures.drop("deadline")
        return False
    return True


async def _frames(exchange: Exchange) -> None:
    running, source = exchange.running, exchange.source
    # One for all calls: to make one for each costs as much as the rest of the call.
    one, timeout = Scope(exchange.scopes), exchange.hop.timeout
    while await exchange.head() is not None:
        item = exchange.take()
        if _wanted(exchange, item):
            waits: Awaitable[Any] | None = None
            # But a context keeps its own: a thread that was cut short looks at it later.
            with Scope(exchange.scopes, item.deadline, timeout) if running.context else one.renew(item.deadline, timeout) as scope:
                result = _call(exchange, item, scope)
                waits, value = started(result) if isinstance(result, CoroutineType) else (result, None)
                if waits is not None and source is not None:
                    source.called()
                if running.shape is Shape.ASYNC:
                    if waits is not None:
                        value = await waits
                    if value is not None:
                        await exchange.emit(value, item, scope, like_input=not isinstance(value, REPLACING))
                else:
                    await _several(exchange, item, scope, waits)
            if waits is not None and source is not None:
                source.returned()
            if scope.why is not None:
                _account(exchange, scope)
        exchange.settle(item)


def _call(exchange: Exchange, item: Item, scope: Scope) -> Any:
    running = exchange.running
    if not running.context:
        value = item.value()
        if running.shape is Shape.SYNC:
            return in_thread(exchange.info.threads, running.function, value)
        return running.function(value)
    context = _context(exchange, item, scope)
    value = item.frame().value
    if running.shape is Shape.SYNC:
        return in_thread(exchange.info.threads, running.function, value, context)
    return running.function(value, context)


async def _several(exchange: Exchange, item: Item, scope: Scope, result: Any) -> None:
    """Of a function that gives its outputs one by one, or turns out to."""
    if exchange.running.shape is Shape.SYNC:
        result = await result
        if not isinstance(result, Iterator):
            if result is not None:
                await exchange.emit(result, item, scope, like_input=not isinstance(result, REPLACING))
            return
    last: Out[Any] | None = None
    async with aclosing(outputs(result, exchange.info.threads)) as all_outputs:
        async for given in all_outputs:
            if given is not None:
                last = await exchange.emit(given, item, scope)
    if item.message.final:
        await _conclude(exchange, item, scope, last)


async def _conclude(exchange: Exchange, item: Item | None, scope: Scope, last: Out[Any] | None, utterance: int = 0) -> None:
    """Says that an utterance is over, where nothing that was given could say so."""
    if last is None or isinstance(last, REPLACING) or last.final:
        return
    output = exchange.output(last.port)
    value = output.port.empty(output.format)
    if value is not None:
        closing = Out(value, last.port, final=True, revision=output.revision, utterance=last.utterance)
        await exchange.emit(closing, item, scope, utterance=utterance)


async def _frames_in_parallel(exchange: Exchange) -> None:
    """Several frames of the session at a time; outputs in their order."""
    computed: asyncio.Queue[_Computed | None] = asyncio.Queue(exchange.hop.parallel)
    free = asyncio.Semaphore(exchange.hop.parallel)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_emit_in_order(exchange, computed, free))
            while True:
                await free.acquire()
                if await exchange.head() is None:
                    break
                item = exchange.take()
                await computed.put((item, exchange.interrupts, group.create_task(_compute(exchange, item))))
            await computed.put(None)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _compute(exchange: Exchange, item: Item) -> tuple[bool, Any]:
    if not _wanted(exchange, item):
        return False, None
    with _scope(exchange, item) as scope:
        return True, await _call(exchange, item, scope)
    _account(exchange, scope)
    return False, None


async def _emit_in_order(exchange: Exchange, computed: asyncio.Queue[_Computed | None], free: asyncio.Semaphore) -> None:
    while (next_one := await computed.get()) is not None:
        item, interrupts, task = next_one
        wanted, value = await task
        if wanted and value is not None and interrupts == exchange.interrupts:
            with Scope(exchange.scopes) as scope:
                await exchange.emit(value, item, scope, like_input=not isinstance(value, REPLACING))
        exchange.settle(item)
        free.release()


# Utterance by utterance.


async def _utterances(exchange: Exchange) -> None:
    own = 0
    while (first := await exchange.head()) is not None:
        own += 1
        with _scope(exchange, None) as scope:
            utterance: Utterance[Any] = Utterance(exchange, first, own, _context(exchange, first, scope))
            try:
                await _utterance(exchange, utterance, scope)
                await utterance.rest()
            finally:
                utterance.close()
        if scope.why is not None:
            _account(exchange, scope)


async def _utterance(exchange: Exchange, utterance: Utterance[Any], scope: Scope) -> None:
    running = exchange.running
    arguments = (utterance, utterance.context) if running.context else (utterance,)
    last: Out[Any] | None = None
    number = utterance.number
    if running.shape in (Shape.ASYNC, Shape.SYNC):
        if running.shape is Shape.ASYNC:
            value = await running.function(*arguments)
        else:
            value = await in_thread(exchange.info.streams, running.function, *arguments)
        if not isinstance(value, Iterator):
            if value is not None:
                out = value if isinstance(value, Out) else Final(value)
                await exchange.emit(out, utterance.last, scope, utterance=number)
            return
    else:
        value = running.function(*arguments)
    async with aclosing(outputs(value, exchange.info.streams)) as all_outputs:
        async for given in all_outputs:
            if given is not None:
                last = await exchange.emit(given, utterance.last, scope, utterance=number)
    await _conclude(exchange, utterance.last, scope, last, number)


# A session as a whole.


async def _session(exchange: Exchange) -> None:
    running = exchange.running
    context = Context(exchange.info, None, lambda: exchange.closed)
    enter(context)
    session = Session(exchange, context)
    try:
        await _run_session(exchange, session, (session, context) if running.context else (session,))
        # What is left is not wanted; it is taken all the same, or the caller would wait.
        async for _ in session:
            exchange.figures.drop("unused")
    finally:
        session.close()


async def _run_session(exchange: Exchange, session: Session, arguments: tuple[Any, ...]) -> None:
    function, streams = exchange.running.function, exchange.info.streams
    match exchange.running.shape:
        case Shape.ASYNC:
            await function(*arguments)
            return
        case Shape.SYNC:
            value = await in_thread(streams, function, *arguments)
            if not isinstance(value, Iterator):
                return
        case _:
            value = function(*arguments)
    async with aclosing(outputs(value, streams)) as given:
        async for out in given:
            if out is not None:
                await exchange.emit(out, session.last, None)


# Calls.


def started(call: Coroutine[Any, Any, Any]) -> tuple[Awaitable[Any] | None, Any]:
    """Runs a call up to where it waits for the first time; gives what is left of it, or its result.

    Many a function never waits. Then nobody need listen to the client beside it.
    """
    try:
        waits_for = call.send(None)
    except StopIteration as done:
        return None, done.value
    return _rest(call, waits_for), None


@coroutine
def _rest(call: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Awaits a call that was begun: what the loop says goes to it, and what it waits for goes to the loop."""
    try:
        while True:
            try:
                got = yield waits_for
            except BaseException as error:
                waits_for = call.throw(error)
            else:
                waits_for = call.send(got)
    except StopIteration as done:
        return done.value


# Threads.


async def in_thread(threads: Executor, function: Callable[..., Any], *arguments: Any) -> Any:
    """A call of a synchronous function. If it is cancelled the thread goes on, and what it gives is dropped."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, context.run, in_future, lambda: on_host(function(*arguments)))


async def outputs(source: Any, threads: Executor) -> AsyncGenerator[Any]:
    """What a generator gives, one by one; a synchronous one has a thread for each step only."""
    if isinstance(source, AsyncGenerator):
        async with aclosing(source):
            async for given in source:
                yield given
        return
    context = contextvars.copy_context()
    step: Future[Any] | None = None
    try:
        while True:
            step = threads.submit(lambda: context.run(lambda: on_host(next(source, _DONE))))
            given = await asyncio.wrap_future(step)
            if given is _DONE:
                return
            yield given
    finally:
        close = getattr(source, "close", None)
        if close is not None and step is not None:
            # Not before its step has ended: a generator that runs cannot be closed.
            step.add_done_callback(lambda _: close())
