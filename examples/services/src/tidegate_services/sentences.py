"""Cuts a text that comes in pieces into sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A sentence ends with a mark, what closes it, and a space.
_END = re.compile(r"[.!?…]+[\"'»”)\]]*(?=\s)|\n")
# After these, and after a number as in a list, it goes on.
_GOES_ON = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Sr|Sra|vs)|(?:^|\s)\d+)$")
# Longer ones are cut at a space, so that nobody waits for all of it: half a minute of speech.
_CHARACTERS_MAX = 400


class Sentences:
    """What was given and is no whole sentence yet."""

    def __init__(self) -> None:
        self._rest = ""

    def add(self, text: str, whole: bool) -> Iterator[str]:
        """The sentences that are complete now; with `whole` the rest too, since nothing follows."""
        self._rest += text
        while (end := self._cut()) > 0:
            sentence, self._rest = self._rest[:end], self._rest[end:]
            yield from _spoken(sentence)
        if whole:
            sentence, self._rest = self._rest, ""
            yield from _spoken(sentence)

    def _cut(self) -> int:
        for found in _END.finditer(self._rest, 0, _CHARACTERS_MAX + 1):
            if not _GOES_ON.search(self._rest[: found.start()]):
                return found.end()
        if len(self._rest) <= _CHARACTERS_MAX:
            return 0
        space = self._rest.rfind(" ", 1, _CHARACTERS_MAX)
        return space if space > 0 else _CHARACTERS_MAX


def _spoken(sentence: str) -> Iterator[str]:
    """In one line; nothing, if there is nothing that a voice could say."""
    line = " ".join("".join(one if one.isprintable() else " " for one in sentence).split())
    if any(one.isalnum() for one in line):
        yield line
