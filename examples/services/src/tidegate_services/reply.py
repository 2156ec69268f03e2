"""Replies by a script, where a language model would stand: what a voice agent's turns need, and always the same.

python -m tidegate_sdk serve tidegate_services.reply:reply --listen 127.0.0.1:7004
"""

from __future__ import annotations

import re

from tidegate_sdk import Text, per_frame

_SCRIPT = [
    (r"\b(hello|hi|good (morning|day|evening))\b", "Hello. What can I do for you?"),
    (r"\byour name\b|\bwho are you\b", "I am a script behind a gateway. A language model would stand in my place."),
    (r"\bcountry\b", "Ask what you can do for your country. That was said in the year nineteen sixty one, and it is still quoted often."),
    (r"\b(count|numbers?)\b", "One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten."),
    (r"\b(bye|goodbye|thank you|thanks)\b", "You are welcome. Goodbye."),
]


@per_frame(takes=Text("said"), gives=Text("answer"), finals_only=True, deterministic=True)
async def reply(said: str) -> str:
    """Answers what was said, once it is final; silence with nothing."""
    if not said.strip():
        return ""
    for pattern, answer in _SCRIPT:
        if re.search(pattern, said, re.IGNORECASE):
            return answer
    return f"You said: {said.strip()}"
