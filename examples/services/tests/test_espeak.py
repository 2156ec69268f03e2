"""What becomes of the program behind a voice when nobody wants more of it."""

from __future__ import annotations

import asyncio
import pathlib
from contextlib import aclosing

from tidegate_services.espeak import Espeak

# Minutes of sound: more than all buffers between the program and this process.
LONG = "uno dos tres cuatro cinco seis siete ocho nueve diez " * 40


def test_a_sentence_of_which_only_the_beginning_is_wanted_ends_at_once() -> None:
    async def begin_and_leave() -> None:
        # Other tests' services may be running.
        before = children()
        async with asyncio.timeout(10):
            async with aclosing(Espeak("es").say(LONG)) as pieces:
                await anext(pieces)
                (program,) = children() - before
                # It waits for a reader that takes no more.
                while state(program) != "S":  # noqa: ASYNC110 - the kernel tells nobody that a process sleeps
                    await asyncio.sleep(0)
            assert program not in children()

    asyncio.run(begin_and_leave())


def children() -> set[int]:
    """The processes that this one started."""
    here = pathlib.Path("/proc/self")
    return {int(child) for task in (here / "task").iterdir() for child in (task / "children").read_text().split()}


def state(process: int) -> str:
    """`S` sleeps, `R` runs."""
    return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
