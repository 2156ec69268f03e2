"""grpcio against a gateway that it knows nothing of: finds the service by reflection, asks its
health, lists, executes and streams. Prints one JSON object; judges nothing."""

import argparse
import json
import queue
import time

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

import native

TIMEOUT = 20


def services(channel, version):
    """What reflection lists. Its v1 has the messages of v1alpha under another name."""
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(iter(call(iter([request]), timeout=TIMEOUT)))
    return [service.name for service in answer.list_services_response.service]


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    name_of = health_pb2.HealthCheckResponse.ServingStatus.Name
    states = {}
    for service in ("", native.SERVICE, "no.such.Service"):
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
            states[service] = name_of(answer.status)
        except grpc.RpcError as error:
            states[service] = error.code().name
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=TIMEOUT)
    states["watch no.such.Service"] = name_of(next(iter(watch)).status)
    watch.cancel()
    return states


def error_of(error):
    """A failed call as status, message and the ErrorInfo that comes with it."""
    report = {"status": error.code().name, "message": error.details()}
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            report |= {"reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
    return report


def execute(api, pipeline, ports, chunks, pcm):
    frames = api.Frames(frames=api.audio_frames(ports[0], chunks, pcm))
    request = api.ExecuteRequest(pipeline=pipeline, inputs={ports[0]: frames})
    answer = api.call("Execute")(request, timeout=TIMEOUT)
    back = answer.outputs[ports[1]].frames
    return {"frames": len(back), "same": b"".join(f.audio.data for f in back) == b"".join(chunks)}


def stream(api, pipeline, chunks, pcm):
    """Opens, sends all as fast as flow control lets it, ends, and reads to the end."""
    opened, to_send = {}, queue.Queue()

    def requests():
        waits = api.enum("Mode", "MODE_WAITS")
        yield api.ClientMessage(open=api.Open(pipeline=pipeline, mode=waits))
        port = to_send.get(timeout=TIMEOUT)
        for frame in api.audio_frames(port, chunks, pcm):
            yield api.ClientMessage(frame=frame)
        yield api.ClientMessage(end=api.End())

    report = {"kinds": {}, "seqs_in_order": True, "caused_by_in_order": True}
    data, last = [], None
    for message in api.call("Stream")(requests(), timeout=TIMEOUT):
        kind = message.WhichOneof("message")
        report["kinds"][kind] = report["kinds"].get(kind, 0) + 1
        if kind == "opened":
            opened = message.opened
            report["session"], report["pipeline"] = opened.session_id, opened.pipeline
            to_send.put(api.ports(opened.ports)[0])
        elif kind == "frame":
            frame = message.frame
            data.append(frame.audio.data)
            if last is not None:
                report["seqs_in_order"] &= frame.seq == last.seq + 1
                report["caused_by_in_order"] &= frame.caused_by >= last.caused_by
            report.setdefault("first_seq", frame.seq)
            last = frame
        elif kind == "error":
            report["error"] = {"code": message.error.code, "message": message.error.message}
        elif kind == "ended":
            report["ended"] = message.ended.reason
    report["frames"], report["same"] = len(data), b"".join(data) == b"".join(chunks)
    return report


def ping_pong(api, pipeline, chunks, pcm):
    """One frame at a time in a live session: seconds from each to its echo."""
    to_send, times = queue.Queue(), []

    def requests():
        yield api.ClientMessage(open=api.Open(pipeline=pipeline))
        while (message := to_send.get(timeout=TIMEOUT)) is not None:
            yield message

    frames, sent_at = None, None
    for message in api.call("Stream")(requests(), timeout=TIMEOUT):
        kind = message.WhichOneof("message")
        if kind == "opened":
            frames = api.audio_frames(api.ports(message.opened.ports)[0], chunks, pcm)
        elif kind == "frame":
            times.append(time.perf_counter() - sent_at)
        else:
            continue
        frame = next(frames, None)
        if frame is None:
            to_send.put(api.ClientMessage(end=api.End()))
            to_send.put(None)
        else:
            sent_at = time.perf_counter()
            to_send.put(api.ClientMessage(frame=frame))
    return {"echoes": len(times), "p50_seconds": sorted(times)[len(times) // 2] if times else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--pipeline", default="echo")
    parser.add_argument("--wav", required=True)
    options = parser.parse_args()
    channel = native.connect(options.address)
    api = native.Native(channel)
    chunks, rate = native.chunks_of(options.wav)
    pcm = api.pcm(rate)
    listed = api.call("ListPipelines")(api.ListPipelinesRequest(), timeout=TIMEOUT).pipelines
    about = next((pipeline for pipeline in listed if pipeline.name == options.pipeline), None)
    report = {
        "services_v1": services(channel, "v1"),
        "services_v1alpha": services(channel, "v1alpha"),
        "health": health(channel),
        "pipelines": [pipeline.name for pipeline in listed],
        "methods": sorted(api.service.methods_by_name),
    }
    if about is not None:
        report["execute"] = execute(api, options.pipeline, api.ports(about.ports), chunks, pcm)
        report["stream"] = stream(api, options.pipeline, chunks, pcm)
        report["ping_pong"] = ping_pong(api, options.pipeline, chunks[:50], pcm)
    try:
        api.call("Execute")(api.ExecuteRequest(pipeline="no-such-pipeline"), timeout=TIMEOUT)
    except grpc.RpcError as error:
        report["unknown"] = error_of(error)
    print(json.dumps(report))


main()
