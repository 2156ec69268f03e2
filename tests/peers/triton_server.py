"""A real Triton Inference Server with a few models, each as small as what it is for: those that the arguments name.

Prints its gRPC address as a JSON object on a line once it is ready, and serves until it is killed.
"""

import json
import os
import signal
import socket
import sys
import sysconfig
import time

import numpy as np

# The server's own libraries are beside the package, and its models run in this very Python; what finds them is read when a process
# starts.
LIBRARIES = ":".join([
    os.path.join(sysconfig.get_paths()["purelib"], "nvidia_pytriton.libs"),
    str(sysconfig.get_config_var("LIBDIR")),
])
if LIBRARIES not in os.environ.get("LD_LIBRARY_PATH", ""):
    # A group of its own, so that a test can kill the server, which is a child, together with this.
    os.setpgid(0, 0)
    os.environ["LD_LIBRARY_PATH"] = LIBRARIES + ":" + os.environ.get("LD_LIBRARY_PATH", "")
    os.execv(sys.executable, [sys.executable, "-u", *sys.argv])

from pytriton.model_config import ModelConfig, Tensor  # noqa: E402
from pytriton.triton import Triton, TritonConfig  # noqa: E402

TRIES = 3


def double(requests):
    """Each number twice as large."""
    return [{"OUTPUT": request["INPUT"] * 2} for request in requests]


def add(requests):
    """The sum of two tensors, and their difference."""
    pairs = [(request["LEFT"], request["RIGHT"]) for request in requests]
    return [{"SUM": left + right, "DIFFERENCE": left - right} for left, right in pairs]


def shout(requests):
    """Text in capitals; `fail` fails."""
    answers = []
    for request in requests:
        words = [word.decode() for word in request["TEXT"].reshape(-1)]
        if "fail" in words:
            raise ValueError("asked to fail")
        said = np.array([word.upper().encode() for word in words], dtype=object)
        answers.append({"SAID": said.reshape(request["TEXT"].shape)})
    return answers


def spell(requests):
    """A response for each letter, by the decoupled mode; none for no letters."""
    for request in requests:
        for letter in request["TEXT"].reshape(-1)[0].decode():
            yield [{"LETTER": np.array([letter.encode()], dtype=object)}]


def length(requests):
    """How many samples there are, and their mean."""
    sounds = [request["SOUND"] for request in requests]
    return [{"COUNT": np.array([sound.size], np.int64), "MEAN": np.array([sound.mean()], np.float32)} for sound in sounds]


def ports(count):
    """Free ports of the operating system's choice."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


def serve():
    """Starts the server; its gRPC port."""
    http, grpc, metrics = ports(3)
    config = TritonConfig(
        http_address="127.0.0.1", grpc_address="127.0.0.1", metrics_address="127.0.0.1",
        http_port=http, grpc_port=grpc, metrics_port=metrics, log_verbose=0,
    )
    triton = Triton(config=config)
    text = np.bytes_
    models = [
        ("double", double, [("INPUT", np.float32, (-1,))], [("OUTPUT", np.float32, (-1,))], {}),
        ("add", add, [("LEFT", np.int32, (-1, 2)), ("RIGHT", np.int32, (-1, 2))],
         [("SUM", np.int32, (-1, 2)), ("DIFFERENCE", np.int32, (-1, 2))], {}),
        ("shout", shout, [("TEXT", text, (-1,))], [("SAID", text, (-1,))], {}),
        ("spell", spell, [("TEXT", text, (1,))], [("LETTER", text, (1,))], {"decoupled": True}),
        ("length", length, [("SOUND", np.float32, (-1,))], [("COUNT", np.int64, (1,)), ("MEAN", np.float32, (1,))], {}),
    ]
    for name, function, inputs, outputs, more in models:
        if name not in sys.argv[1:]:
            continue
        triton.bind(
            model_name=name,
            infer_func=function,
            inputs=[Tensor(name=n, dtype=d, shape=s) for n, d, s in inputs],
            outputs=[Tensor(name=n, dtype=d, shape=s) for n, d, s in outputs],
            config=ModelConfig(batching=False, **more),
            strict=False,
        )
    triton.run()
    return triton, grpc


def main():
    """Serves; another program may take a port between its choice and its use, so that it is tried again."""
    for left in reversed(range(TRIES)):
        try:
            triton, grpc = serve()
            break
        except Exception as error:  # noqa: BLE001 - whatever it is, the last one is shown
            if left == 0:
                raise
            print(f"not started: {error}", file=sys.stderr)
    print(json.dumps({"grpc": f"127.0.0.1:{grpc}"}), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            time.sleep(3600)
    finally:
        triton.stop()


if __name__ == "__main__":
    main()
