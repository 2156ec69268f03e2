"""Speech to text that is slower than its speaker's pauses: it has understood the first thing that is said when the second is being said."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tidegate_sdk import Audio, Context, Out, Samples, Text, per_frame

RATE = 16_000
_LATE_FRAMES = 10


class SlowToUnderstand:
    """Of one session."""

    def __init__(self) -> None:
        self._frames = 0

    @per_frame(takes=Audio("speech", RATE), gives=Text("words"), parameters={"partial_seconds": 0.0})
    async def stt(self, sound: Samples, context: Context) -> AsyncIterator[Out[str]]:
        """Gives the words of the first utterance amid the second, and those of the second at its end."""
        frame = context.frame
        assert frame is not None
        if frame.utterance != 2:
            return
        self._frames += 1
        if self._frames == _LATE_FRAMES:
            yield Out("the first half", final=True, utterance=1)
        if frame.final:
            yield Out("and the second", final=True, utterance=2)
