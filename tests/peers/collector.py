"""A collector of spans: takes OTLP over gRPC as a real one does, and prints what it was sent.

Prints `listening on HOST:PORT`, then each span as one JSON object a line. With --deaf it accepts connections and answers nothing.
"""

import json
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def shown(span, resource, scope):
    return {
        "name": span.name,
        "kind": trace_pb2.Span.SpanKind.Name(span.kind),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "trace_state": span.trace_state,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "attributes": attributes(span.attributes),
        "events": [
            {"name": event.name, "at": event.time_unix_nano, "attributes": attributes(event.attributes)}
            for event in span.events
        ],
        "error": span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else None,
        "service": resource.get("service.name"),
        "scope": scope,
    }


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, deaf):
        self.deaf = deaf

    def Export(self, request, context):
        if self.deaf:
            threading.Event().wait()
        for of_resource in request.resource_spans:
            resource = attributes(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    # One write: exports come at the same time, and a line must not be torn.
                    sys.stdout.write(json.dumps(shown(span, resource, of_scope.scope.name)) + "\n")
                    sys.stdout.flush()
        return trace_service_pb2.ExportTraceServiceResponse()


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector("--deaf" in sys.argv), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


main()
