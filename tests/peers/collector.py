"""A collector of spans: takes OTLP over gRPC, or with --http over HTTP, as a real one does, and prints what it was sent.

Prints `listening on HOST:PORT`, then each span as one JSON object a line. With --deaf it accepts connections and answers nothing; with --tls
it shows a certificate.
"""

import argparse
import http.server
import json
import pathlib
import ssl
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
        "resource": resource,
        "scope": scope,
    }


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, deaf):
        self.deaf = deaf

    def Export(self, request, context):
        if self.deaf:
            threading.Event().wait()
        taken(request, "grpc")
        return trace_service_pb2.ExportTraceServiceResponse()


def taken(request, over):
    for of_resource in request.resource_spans:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                # One write: exports come at the same time, and a line must not be torn.
                sys.stdout.write(json.dumps(shown(span, resource, of_scope.scope.name) | {"over": over}) + "\n")
                sys.stdout.flush()


class Over(http.server.BaseHTTPRequestHandler):
    """OTLP over HTTP, in protobuf. The first request is told to come again, as a collector does that restarts."""

    refused = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        right = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
        if not right:
            self.answer(404, b"")
        elif not Over.refused:
            Over.refused = True
            self.answer(503, b"")
        else:
            taken(trace_service_pb2.ExportTraceServiceRequest.FromString(body), "http")
            self.answer(200, trace_service_pb2.ExportTraceServiceResponse().SerializeToString())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def over_http(args):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Over)
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


def over_grpc(args):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(args.deaf), server)
    if args.tls:
        certificate, key = (pathlib.Path(name).read_bytes() for name in args.tls)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    args = parser.parse_args()
    (over_http if args.http else over_grpc)(args)


main()
