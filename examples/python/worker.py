"""A hop of your own: a service that a `remote` node streams audio to over gRPC, and that answers with text.

    pip install grpcio grpcio-tools
    python worker.py --listen 127.0.0.1:7001

It says how long and how loud each utterance was, while it is still being spoken and once more at its end. Put your model where
`describe` is. docs/hops.md has the manifest that goes with it and says what each answer below changes for callers.
"""

import argparse
import array
import concurrent.futures
import math
import pathlib
import sys
import time

import grpc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
sys.path.insert(0, str(PROTO))
# Messages and service, straight from the schema: nothing is generated beforehand.
api, services = grpc.protos_and_services("tidegate/v1/gateway.proto")

PIPELINE = "loudness"
RATE = 16_000
PCM = api.AudioFormat(codec=api.AUDIO_CODEC_PCM_S16, sample_rate=RATE, channels=1)
PORTS = [
    api.Port(name="speech", direction=api.DIRECTION_INPUT, kind=api.KIND_AUDIO, audio=PCM),
    api.Port(name="text", direction=api.DIRECTION_OUTPUT, kind=api.KIND_TEXT),
]
PARTIAL_SAMPLES = RATE  # a partial result for each second


def describe(samples: array.array) -> str:
    """Your model: what is said of the utterance so far."""
    power = sum(sample * sample for sample in samples) / max(1, len(samples))
    level = 10 * math.log10(max(power, 1) / 32768**2)
    return f"{len(samples) / RATE:.1f} s at {level:.0f} dB"


class Session:
    """One stream: the utterance that is being heard, and what was said of it."""

    def __init__(self, asked: api.Open) -> None:
        self.acks = "acks" in asked.features or "credits" in asked.features
        self.samples = array.array("h")
        self.said = 0  # outputs, numbered from 1
        self.revision = 0
        self.partial_at = PARTIAL_SAMPLES

    def heard(self, frame: api.Frame, arrived: float):
        """Takes a frame; gives the messages that it causes, in their order."""
        self.samples.frombytes(frame.audio.data)
        if frame.final or len(self.samples) >= self.partial_at:
            self.said += 1
            self.revision += 1
            self.partial_at += PARTIAL_SAMPLES
            text = describe(self.samples)
            yield api.ServerMessage(
                frame=api.Frame(
                    port="text",
                    seq=self.said,
                    media_time=frame.media_time,
                    # A higher revision replaces a lower one of the same utterance; the last is final.
                    utterance=frame.utterance,
                    revision=self.revision,
                    final=frame.final,
                    # Lets the gateway say what was queue, wire and service, and whose output this is after a failover.
                    caused_by=frame.seq,
                    service=int((time.monotonic() - arrived) * 1e6),
                    text=api.Text(text=text),
                )
            )
        if frame.final:
            self.forget()
            # Until here the state needs the utterance's frames: only now may the gateway let go of them.
            if self.acks:
                yield api.ServerMessage(ack=api.Ack(port="speech", seq=frame.seq))

    def forget(self) -> None:
        """The utterance is over, or nobody wants it any more."""
        self.samples = array.array("h")
        self.revision = 0
        self.partial_at = PARTIAL_SAMPLES


class Worker(services.GatewayServicer):
    """What a gateway asks of a worker."""

    def DescribePipeline(self, request, context):
        if request.pipeline != PIPELINE:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no pipeline '{request.pipeline}': this worker serves '{PIPELINE}'")
        return api.DescribePipelineResponse(summary=api.PipelineSummary(name=PIPELINE, ports=PORTS))

    def Stream(self, messages, context):
        asked = next(messages).open
        if asked.pipeline != PIPELINE:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no pipeline '{asked.pipeline}': this worker serves '{PIPELINE}'")
        # The same input gives the same output here, so after a failover only what is missing needs to be said again.
        # Without credits gRPC's own flow control does: a worker that does not read is not sent more.
        features = [feature for feature in asked.features if feature == "acks"]
        opened = api.Opened(session_id=f"{time.time_ns():x}", pipeline=PIPELINE, ports=PORTS, features=features)
        opened.deterministic = True
        yield api.ServerMessage(opened=opened)

        session = Session(asked)
        for message in messages:
            kind = message.WhichOneof("message")
            if kind == "frame":
                yield from session.heard(message.frame, time.monotonic())
            elif kind == "interrupt":
                session.forget()
            elif kind == "end":
                break
        yield api.ServerMessage(end=api.End(port="text"))
        yield api.ServerMessage(ended=api.Ended(reason="finished"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:7001")
    parser.add_argument("--streams", type=int, default=64, help="streams at a time; each has a thread")
    arguments = parser.parse_args()
    # One more than the streams, so that a description is answered while all are taken.
    threads = concurrent.futures.ThreadPoolExecutor(arguments.streams + 1)
    # Without the option two workers would share a port unnoticed.
    options = [("grpc.so_reuseport", 0)]
    server = grpc.server(threads, maximum_concurrent_rpcs=arguments.streams + 1, options=options)
    services.add_GatewayServicer_to_server(Worker(), server)
    host, _, _ = arguments.listen.rpartition(":")
    try:
        port = server.add_insecure_port(arguments.listen)  # 0 lets the system choose
    except RuntimeError:
        sys.exit(f"{arguments.listen} cannot be listened on: is another worker there?")
    server.start()
    print(f"worker of pipeline '{PIPELINE}' on {host}:{port}", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(grace=5).wait()


if __name__ == "__main__":
    main()
