"""What `MODULE:NAME` means: the hops of a function, a class, an object or a module; and what is said of those that cannot be served."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pathlib
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from .hop import Hop
from .settings import Refused

# Between the service's code and whoever reads: frames of these are not shown.
_OTHERS = (f"{pathlib.Path(__file__).parent}{os.sep}", "<frozen importlib", str(importlib.__file__), str(contextlib.__file__))


class Broken(Refused):
    """The service's own code has failed; `trace` is its part of the traceback, without the SDK's."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


@contextlib.contextmanager
def blaming(what: str) -> Iterator[None]:
    """What the service's own code raises is said with its file and line."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        raise _broken(what, error) from error


def load(place: str) -> Any:
    """What `module:name` means; without a name the module itself."""
    module, _, name = place.partition(":")
    with blaming(f"module '{module}' cannot be imported"):
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
                raise Refused(f"there is no module '{module}' here: write MODULE:NAME, from the folder that it is in") from error
            raise
    for part in filter(None, name.split(".")):
        if not hasattr(found, part):
            raise Refused(f"module '{module}' has no '{name}'")
        found = getattr(found, part)
    return found


def object_of(found: Any) -> Any:
    """Of a class that has hops its one object: what it loads is loaded now."""
    if not inspect.isclass(found):
        return found
    if not any(isinstance(value, Hop) for one in found.__mro__ for value in vars(one).values()):
        raise Refused(f"{found!r} has no hop: decorate a method with per_frame, per_utterance or per_session")
    with blaming(f"{found.__module__}:{found.__qualname__} cannot be made"):
        return found()


def hops_of(found: Any) -> list[Hop]:
    """A hop, or those of a class, an object, a module or a list."""
    if isinstance(found, Hop):
        return [found]
    if isinstance(found, list | tuple):
        return [hop for one in found for hop in hops_of(one)]
    found = object_of(found)
    hops: list[Hop] = []
    for name in dir(found):
        value = None if name.startswith("__") else getattr(found, name, None)
        # One hop may have two names in Python.
        if isinstance(value, Hop) and value not in hops:
            hops.append(value)
    if not hops:
        raise Refused(f"{found!r} has no hop: decorate a function with per_frame, per_utterance or per_session")
    return hops


def each_of_its_name(hops: Sequence[Hop]) -> None:
    """Refuses two of one name: which of them would be served?"""
    named: dict[str, Hop] = {}
    for hop in hops:
        if other := named.get(hop.name):
            raise Refused(
                f"hops need names of their own: '{hop.name}' is that of {other.place} and of {hop.place}; give one of them another by name="
            )
        named[hop.name] = hop


def _broken(what: str, error: Exception) -> Broken:
    shown = traceback.TracebackException.from_exception(error)
    one: traceback.TracebackException | None = shown
    while one is not None:
        one.stack = traceback.StackSummary.from_list([frame for frame in one.stack if not frame.filename.startswith(_OTHERS)])
        one = one.__cause__ or one.__context__
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place = ""
    if isinstance(error, SyntaxError):
        place, said = f"{error.filename}:{error.lineno}: ", f"{type(error).__name__}: {error.msg}"
    elif shown.stack:
        # Of what a library raises, the line that called it.
        folder = str(pathlib.Path(shown.stack[0].filename).parent)
        last = [frame for frame in shown.stack if frame.filename.startswith(folder)][-1]
        place = f"{last.filename}:{last.lineno}: "
    return Broken(f"{what}: {place}{said}", "".join(shown.format()) if shown.stack or place else "")
