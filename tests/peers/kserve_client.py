"""`tritonclient`, unmodified, against a gateway: gRPC, REST and streaming.

The first argument says what to do; the last line is one JSON object with what was seen.
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

WAIT = 60
DTYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


def values(dtype, shape=(2, 3)):
    """An array with small whole numbers, and a fraction where there are any."""
    array = np.arange(np.prod(shape)).reshape(shape)
    return (array % 2 == 0) if dtype == "bool" else (array / (2 if dtype.startswith("float") else 1)).astype(dtype)


def tensor(module, name, array, **how):
    """The array as an input."""
    kind = "BYTES" if array.dtype == object else np_to_triton_dtype(array.dtype)
    given = module.InferInput(name, list(array.shape), kind)
    given.set_data_from_numpy(array, **how)
    return given


def texts(*words):
    """Strings as an array."""
    return np.array([word.encode() if isinstance(word, str) else word for word in words], dtype=object)


def same(a, b):
    """Whether two arrays are the same in every respect."""
    return bool(a is not None and a.dtype == b.dtype and a.shape == b.shape and (a == b).all())


def refused(call):
    """What a refused call says."""
    try:
        call()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    return None


def about(client, as_dict):
    """Health and metadata."""
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("tensors"),
        "model_ready_version": client.is_model_ready("tensors", "1"),
        "unknown_ready": client.is_model_ready("no-such-model"),
        "server": as_dict(client.get_server_metadata),
        "tensors": as_dict(client.get_model_metadata, "tensors"),
        "mixed": as_dict(client.get_model_metadata, "mixed"),
        "unknown": refused(lambda: client.get_model_metadata("no-such-model")),
        "version": refused(lambda: client.get_model_metadata("tensors", "7")),
        "video": refused(lambda: client.get_model_metadata("video")),
    }


def infers(module, client):
    """One inference of each kind."""
    report = {"dtypes": {}}
    for dtype in DTYPES:
        array = values(dtype)
        result = client.infer("tensors", [tensor(module, "in", array)], request_id=f"id {dtype}")
        report["dtypes"][dtype] = same(result.as_numpy("out"), array)
        answer = result.get_response()
        report["id"] = answer["id"] if isinstance(answer, dict) else answer.id
    scalar = np.full((), 7, dtype=np.int64)
    report["scalar"] = same(client.infer("tensors", [tensor(module, "in", scalar)]).as_numpy("out"), scalar)
    empty = np.zeros((0, 4), dtype=np.float32)
    report["empty"] = same(client.infer("tensors", [tensor(module, "in", empty)]).as_numpy("out"), empty)
    large = np.arange(3 << 20, dtype=np.float32)
    report["large"] = same(client.infer("tensors", [tensor(module, "in", large)]).as_numpy("out"), large)
    said = client.infer("texts", [tensor(module, "in", texts("one", "zwei", "três"))])
    report["texts"] = [text.decode() for text in said.as_numpy("out")]
    louder = client.infer("texts", [tensor(module, "in", texts("one"))], parameters={"word": "louder"})
    report["parameter"] = [text.decode() for text in louder.as_numpy("out")]
    sound = (np.arange(8000) % 200 / 200).astype(np.float32)
    blob = texts(b"\x00\xff\xfe")
    mixed = [
        tensor(module, "sound", sound),
        tensor(module, "notes", texts('{"a": 1}', "2")),
        tensor(module, "blob", blob),
    ]
    wanted = [module.InferRequestedOutput(name) for name in ("heard", "seen", "bytes")]
    result = client.infer("mixed", mixed, outputs=wanted, parameters={"sample_rate": 16000})
    heard = result.get_output("heard")
    heard = heard if isinstance(heard, dict) else {"parameters": {"sample_rate": heard.parameters["sample_rate"].int64_param}}
    report["mixed"] = {
        "sound": same(result.as_numpy("heard"), sound),
        "rate": heard["parameters"]["sample_rate"],
        "notes": [json.loads(text) for text in result.as_numpy("seen")],
        "blob": result.as_numpy("bytes")[0] == blob[0],
    }
    pcm = (np.arange(320) * 100).astype(np.int16)
    stereo = np.stack([pcm, -pcm], axis=1)
    result = client.infer("mixed", [tensor(module, "sound", stereo)])
    report["stereo"] = same(result.as_numpy("heard"), (stereo / 32768).astype(np.float32))
    report["notes_of_none"] = list(result.as_numpy("seen").shape)
    report["two_tensors"] = refused(
        lambda: client.infer("windows", [tensor(module, "sound", np.zeros(32000, dtype=np.float32))])
    )
    x = tensor(module, "in", values("int32"))
    report["wrong"] = {
        "model": refused(lambda: client.infer("no-such-model", [x])),
        "input": refused(lambda: client.infer("tensors", [tensor(module, "INPUT0", values("int32"))])),
        "output": refused(lambda: client.infer("tensors", [x], outputs=[module.InferRequestedOutput("none")])),
        "kind": refused(lambda: client.infer("tensors", [tensor(module, "in", texts("text"))])),
        "datatype": refused(lambda: client.infer("mixed", [tensor(module, "sound", values("int64", (4,)))])),
        "json": refused(lambda: client.infer("mixed", [tensor(module, "notes", texts("{"))])),
        "utf8": refused(lambda: client.infer("texts", [tensor(module, "in", texts(b"\xff"))])),
        "twice": refused(lambda: client.infer("tensors", [x, x])),
        "parameter": refused(lambda: client.infer("texts", [tensor(module, "in", texts("x"))], parameters={"wrod": "x"})),
        "version": refused(lambda: client.infer("tensors", [x], model_version="2")),
    }
    return report


def grpc_calls(address):
    """Everything by gRPC."""
    client = grpcclient.InferenceServerClient(address)
    return {
        "about": about(client, lambda call, *names: call(*names, as_json=True)),
        "infer": infers(grpcclient, client),
        "stream": streams(address),
    }


def http_calls(address):
    """Everything by REST."""
    client = httpclient.InferenceServerClient(address, connection_timeout=WAIT, network_timeout=WAIT)
    report = {"about": about(client, lambda call, *names: call(*names)), "infer": infers(httpclient, client)}
    array = values("float32")
    how = tensor(httpclient, "in", array, binary_data=False)
    out = httpclient.InferRequestedOutput("out", binary_data=False)
    result = client.infer("tensors", [how], outputs=[out], request_id="as JSON")
    report["json"] = {"same": same(result.as_numpy("out"), array), "response": result.get_response()}
    how = tensor(httpclient, "in", texts("a", "b"), binary_data=False)
    result = client.infer("texts", [how], outputs=[httpclient.InferRequestedOutput("out", binary_data=False)])
    report["json_texts"] = result.get_response()["outputs"]
    half = httpclient.InferRequestedOutput("out", binary_data=False)
    given = tensor(httpclient, "in", values("float16"))
    report["half_as_json"] = refused(lambda: client.infer("tensors", [given], outputs=[half]))
    return report


class Stream:
    """A stream of `ModelStreamInfer` whose responses can be waited for."""

    def __init__(self, address):
        self.client = grpcclient.InferenceServerClient(address)
        self.heard = queue.Queue()
        self.client.start_stream(callback=lambda result, error: self.heard.put((result, error)))

    def ask(self, model, *inputs, **more):
        """Sends a request."""
        self.client.async_stream_infer(model, list(inputs), **more)

    def next(self):
        """The next response, as what is told of it."""
        result, error = self.heard.get(timeout=WAIT)
        if error is not None:
            return {"error": error.message(), "status": error.status()}
        response = result.get_response()
        final = response.parameters["triton_final_response"].bool_param
        names = [output.name for output in response.outputs]
        arrays = {name: result.as_numpy(name) for name in names}
        return {"id": response.id, "final": final, "arrays": arrays}

    def close(self):
        """Ends the stream in order; what else was said."""
        self.client.stop_stream()
        rest = []
        while not self.heard.empty():
            rest.append(self.heard.get())
        return len(rest)


def streams(address):
    """Sessions that are streams."""
    report = {}
    stream = Stream(address)
    arrays = [values("float32", (2, n)) for n in range(1, 6)]
    for n, array in enumerate(arrays):
        stream.ask("tensors", tensor(grpcclient, "in", array), request_id=str(n))
    got = [stream.next() for _ in arrays]
    report["in_order"] = [item["id"] for item in got]
    report["same"] = all(same(item["arrays"]["out"], array) for item, array in zip(got, arrays))
    report["final"] = [item["final"] for item in got]
    big = values("float64", (1 << 20,))
    stream.ask("tensors", tensor(grpcclient, "in", big), request_id="big")
    report["big"] = same(stream.next()["arrays"]["out"], big)
    stream.ask("tensors", tensor(grpcclient, "in", texts("no tensor")), request_id="wrong")
    report["wrong"] = stream.next()
    stream.ask("other", tensor(grpcclient, "in", arrays[0]))
    report["other_model"] = stream.next()
    stream.ask("tensors", tensor(grpcclient, "in", arrays[0]), request_id="after")
    report["after"] = stream.next()["id"]
    report["left_over"] = stream.close()

    # Decoupled: several responses to one request, or none, and a word at its end.
    stream = Stream(address)
    for n in (3, 1):
        asked = texts(*(f"{n}.{i}" for i in range(n)))
        stream.ask("texts", tensor(grpcclient, "in", asked), request_id=f"of {n}", enable_empty_final_response=True)
    decoupled = []
    while sum(item["final"] for item in decoupled) < 2:
        item = stream.next()
        said = [text.decode() for array in item["arrays"].values() for text in array]
        decoupled.append({"id": item["id"], "final": item["final"], "said": said})
    report["decoupled"] = decoupled
    report["decoupled_left_over"] = stream.close()

    stream = Stream(address)
    stream.ask("no-such-model", tensor(grpcclient, "in", arrays[0]))
    report["unknown"] = stream.next()
    stream.client.stop_stream(cancel_requests=True)
    stream = Stream(address)
    report["silent_left_over"] = stream.close()
    return report


def with_key(address, key):
    """What a caller with a key may do, and one without."""
    report = {}
    headers = {"authorization": f"Bearer {key}"} if key else None
    x = lambda module: [tensor(module, "in", values("int32"))]
    grpc = grpcclient.InferenceServerClient(address)
    http = httpclient.InferenceServerClient(address, connection_timeout=WAIT, network_timeout=WAIT)
    for name, module, client in (("grpc", grpcclient, grpc), ("http", httpclient, http)):
        report[name] = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "granted": refused(lambda: client.infer("tensors", x(module), headers=headers)),
            "other": refused(lambda: client.infer("texts", [tensor(module, "in", texts("x"))], headers=headers)),
            "metadata": refused(lambda: client.get_model_metadata("texts", headers=headers)),
        }
    return report


def main():
    """Does what the arguments say."""
    what, address, *rest = sys.argv[1:]
    call = {"grpc": grpc_calls, "http": http_calls, "key": with_key}[what]
    report = call(address, *rest)
    print(json.dumps(report, default=lambda value: value.tolist() if hasattr(value, "tolist") else repr(value)))


if __name__ == "__main__":
    main()
