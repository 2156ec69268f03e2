"""Where a model runs: on a GPU (CUDA) where there is one, on the CPU otherwise, or where its setting says."""

from __future__ import annotations

import os
from collections.abc import Callable

from tidegate_sdk import Refused

DEVICES = ("auto", "cpu", "cuda")


def asked(setting: str) -> str:
    """What the environment says: `auto`, `cpu` or `cuda`."""
    value = os.environ.get(setting) or "auto"
    if value not in DEVICES:
        raise Refused(f"{setting} is '{value}': write {', '.join(DEVICES)}")
    return value


def chosen(setting: str, lacking: Callable[[], str | None]) -> str:
    """`cpu` or `cuda`. `lacking` says what a GPU's use lacks here, with the mend; `None`: nothing that is known beforehand."""
    value = asked(setting)
    if value == "cpu":
        return value
    lacks = lacking()
    if lacks and value == "cuda":
        raise Refused(f"{setting} is cuda, but {lacks}")
    return "cpu" if lacks else "cuda"
