"""Turn a Python function into a hop of a Tidegate pipeline.

    from tidegate_sdk import Text, per_frame

    @per_frame(takes=Text(), gives=Text())
    def shout(text: str) -> str:
        return text.upper()

`python -m tidegate_sdk serve module:shout` serves it. README.md has the rest.
"""

from .batch import Batch, batched
from .context import Context, current
from .errors import HopError
from .hop import Hop, per_frame, per_session, per_utterance
from .ports import Audio, Binary, EncodedAudio, Json, Tensor, Text, Video
from .server import Server
from .settings import Refused, Settings, Tls
from .streams import Session, Utterance
from .trace import TraceFilter
from .values import Array, Final, Frame, Out, Partial, Picture, Samples

__all__ = [
    "Array",
    "Audio",
    "Batch",
    "Binary",
    "Context",
    "EncodedAudio",
    "Final",
    "Frame",
    "Hop",
    "HopError",
    "Json",
    "Out",
    "Partial",
    "Picture",
    "Refused",
    "Samples",
    "Server",
    "Session",
    "Settings",
    "Tensor",
    "Text",
    "Tls",
    "TraceFilter",
    "Utterance",
    "Video",
    "batched",
    "current",
    "per_frame",
    "per_session",
    "per_utterance",
]
