"""What the programs that the services keep or start have in common: their end."""

from __future__ import annotations

import asyncio
import contextlib


async def end(program: asyncio.subprocess.Process) -> None:
    """Kills it, and waits until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        program.kill()
    # asyncio calls a process ended once its pipes are closed too, and a pipe whose reader has paused over what nobody takes never is.
    await program.communicate()
