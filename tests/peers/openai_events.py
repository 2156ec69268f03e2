"""Events of OpenAI Realtime held against the types that the `openai` package publishes, which it does not do by itself."""

from typing import get_args

import pydantic
from openai.types.realtime import RealtimeServerEvent

TYPES = {
    kind: model
    for model in get_args(get_args(RealtimeServerEvent)[0])
    for kind in get_args(model.model_fields["type"].annotation)
}


def problems(text):
    """What is wrong with a server event, as a list that is empty if nothing is."""
    kind = pydantic.TypeAdapter(dict).validate_json(text).get("type")
    if kind not in TYPES:
        return [f"no event is called {kind!r}"]
    try:
        TYPES[kind].model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        return [f"{kind}: {one['loc']}: {one['msg']}" for one in error.errors()]
    return []
