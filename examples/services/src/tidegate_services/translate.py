"""Translation between English and Spanish by Apertium: text in, text out, partial results included.

    python -m tidegate_sdk serve tidegate_services.translate:Translation --listen 127.0.0.1:7002

Apertium (GPL) is a chain of programs that runs beside this process as long as it does; there is one for each direction.
`APERTIUM_MODES` names the folder of its modes, `/usr/share/apertium/modes` unless given.
"""

from __future__ import annotations

import os
import pathlib

from tidegate_sdk import Context, HopError, Refused, Text, per_frame

from .apertium import Apertium, stages

_CODES = {"en": "eng", "es": "spa"}


class Translation:
    """The service."""

    def __init__(self) -> None:
        modes = pathlib.Path(os.environ.get("APERTIUM_MODES", "/usr/share/apertium/modes"))
        self._directions: dict[tuple[str, str], Apertium] = {}
        for source, target in (("en", "es"), ("es", "en")):
            file = modes / f"{_CODES[source]}-{_CODES[target]}.mode"
            try:
                self._directions[source, target] = Apertium(f"{source} to {target}", stages(file.read_text()))
            except OSError as error:
                raise Refused(f"{file}: {error.strerror}: apt-get install apertium apertium-eng-spa") from error

    async def __aenter__(self) -> Translation:
        for direction in self._directions.values():
            await direction.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for direction in self._directions.values():
            await direction.stop()

    @per_frame(takes=Text("text"), gives=Text("translation"), deterministic=True, parameters={"from": "en", "to": "es"})
    async def translate(self, text: str, context: Context) -> str:
        """Translates each text, the partial ones of an utterance too."""
        source, target = str(context.parameters["from"]), str(context.parameters["to"])
        if source == target:
            return text
        direction = self._directions.get((source, target))
        if direction is None:
            known = ", ".join(f"{one} to {other}" for one, other in self._directions)
            raise HopError(f"no translation from '{source}' to '{target}': there is {known}", code="bad_request")
        return await direction.translate(text)
