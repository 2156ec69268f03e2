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


def figures(client, as_dict, *name):
    """How often models were asked, by name. By gRPC numbers are strings in JSON, and zeros are left out."""
    stats = as_dict(client.get_inference_statistics, *name)["model_stats"]
    whole = lambda stat, *path: int(dig(stat, path) or 0)
    return {
        stat["name"]: {
            "inferences": whole(stat, "inference_count"),
            "success": whole(stat, "inference_stats", "success", "count"),
            "success_ns": whole(stat, "inference_stats", "success", "ns"),
            "fail": whole(stat, "inference_stats", "fail", "count"),
            "last": whole(stat, "last_inference"),
        }
        for stat in stats
    }


def dig(value, path):
    """What lies at a path of names, if it is there."""
    for name in path:
        value = value.get(name, {}) if isinstance(value, dict) else {}
    return value if not isinstance(value, dict) else None


def index(client, as_dict):
    """What the repository lists, by name."""
    listed = as_dict(client.get_model_repository_index)
    models = listed["models"] if isinstance(listed, dict) else listed
    return {model["name"]: [model["version"], model["state"], model.get("reason", "")] for model in models}


def rates(module, client, as_dict, model):
    """The rate that a model's configuration says of its sound, and the one that sound is taken for of which none is said."""
    config = as_dict(client.get_model_config, model)
    told = config.get("config", config)["parameters"]["sample_rate.sound"]["string_value"]
    heard = client.infer(model, [tensor(module, "sound", np.zeros(160, dtype=np.float32))]).get_output("heard")
    if not isinstance(heard, dict):
        return [int(told), heard.parameters["sample_rate"].int64_param]
    return [int(told), heard["parameters"]["sample_rate"]]


def extensions(module, client, as_dict):
    """What tools ask beside the protocol itself, and what they may not ask here."""
    config = as_dict(client.get_model_config, "mixed")
    before = figures(client, as_dict, "tensors")["tensors"]
    x = tensor(module, "in", values("int32"))
    for _ in range(3):
        client.infer("tensors", [x])
    refused(lambda: client.infer("tensors", [x, x]))
    return {
        "index": index(client, as_dict),
        "config": config.get("config", config),
        "rates": [rates(module, client, as_dict, model) for model in ("mixed", "telephone")],
        "unknown_config": refused(lambda: client.get_model_config("no-such-model")),
        "before": before,
        "after": figures(client, as_dict, "tensors")["tensors"],
        "all": sorted(figures(client, as_dict)),
        "unserved": {
            "load": refused(lambda: client.load_model("tensors")),
            "unload": refused(lambda: client.unload_model("tensors")),
            "memory": refused(client.get_system_shared_memory_status),
            "register": refused(lambda: client.register_system_shared_memory("region", "/region", 64)),
            "cuda": refused(client.get_cuda_shared_memory_status),
            "trace": refused(lambda: client.get_trace_settings("tensors")),
            "log": refused(client.get_log_settings),
        },
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
    as_dict = lambda call, *names: call(*names, as_json=True)
    return {
        "about": about(client, as_dict),
        "extensions": extensions(grpcclient, client, as_dict),
        "infer": infers(grpcclient, client),
        "stream": streams(address),
        "streamed": figures(client, as_dict, "texts")["texts"],
    }


def http_calls(address):
    """Everything by REST."""
    client = httpclient.InferenceServerClient(address, connection_timeout=WAIT, network_timeout=WAIT)
    as_dict = lambda call, *names: call(*names)
    report = {
        "about": about(client, as_dict),
        "extensions": extensions(httpclient, client, as_dict),
        "infer": infers(httpclient, client),
    }
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

    def __init__(self, address, headers=None):
        self.client = grpcclient.InferenceServerClient(address)
        self.heard = queue.Queue()
        self.client.start_stream(callback=lambda result, error: self.heard.put((result, error)), headers=headers)

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
        more = {"as_json": True} if name == "grpc" else {}
        as_dict = lambda call, *names: call(*names, headers=headers, **more)
        seen = {} if not key else {"index": sorted(index(client, as_dict)), "figures": sorted(figures(client, as_dict))}
        report[name] = seen | {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "granted": refused(lambda: client.infer("tensors", x(module), headers=headers)),
            "other": refused(lambda: client.infer("texts", [tensor(module, "in", texts("x"))], headers=headers)),
            "metadata": refused(lambda: client.get_model_metadata("texts", headers=headers)),
            "config": refused(lambda: client.get_model_config("texts", headers=headers)),
            "statistics": refused(lambda: client.get_inference_statistics("texts", headers=headers)),
            "unknown": refused(lambda: client.get_model_metadata("no-such-model", headers=headers)),
        }
    # The package's HTTP client has written numbers into what it was given.
    stream = Stream(address, {"authorization": headers["authorization"]} if key else None)
    # The call may have been refused before anything is asked; the callback is told why, sooner or later.
    refused(lambda: stream.ask("texts", tensor(grpcclient, "in", texts("x"))))
    report["grpc"]["stream"] = stream.next()
    stream.client.stop_stream(cancel_requests=True)
    return report


def main():
    """Does what the arguments say."""
    what, address, *rest = sys.argv[1:]
    call = {"grpc": grpc_calls, "http": http_calls, "key": with_key}[what]
    report = call(address, *rest)
    print(json.dumps(report, default=lambda value: value.tolist() if hasattr(value, "tolist") else repr(value)))


if __name__ == "__main__":
    main()
