"""What stands in README.md runs as it stands there, with models that are none."""

from __future__ import annotations

import pathlib
import re
from types import SimpleNamespace
from typing import Any

import numpy as np

from tidegate_sdk import Hop
from tidegate_sdk.testing import play

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def test_the_services_of_the_readme_do_what_it_says() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    ours: dict[str, Any] = {
        "model": SimpleNamespace(transcribe=lambda samples: "hello world", translate=str.title),
        "voice": SimpleNamespace(synthesize=lambda sentence: np.zeros(len(sentence), np.int16)),
        "split": lambda text: text.split(". "),
        "samples": np.zeros(16_000, np.int16),
    }
    for block in blocks:
        # torch is in an environment of its own, where examples/gpu is tested.
        if "torch" not in block:
            exec(block, ours)
    assert {"stt", "translate", "tts"} <= {name for name, value in ours.items() if isinstance(value, Hop)}
    tests = [value for name, value in ours.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
    assert [one.final for one in play(ours["stt"], [ours["samples"]])] == [False, True]
    assert [one.value for one in play(ours["translate"], ["one two"])] == ["One Two"]
    assert [len(one.value) for one in play(ours["tts"], ["One. Three"])] == [3, 5]
