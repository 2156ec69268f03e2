"""The shortest hop: a service that answers a POST, with nothing but Python. docs/hops.md, "Not gRPC", says what comes and what may go.

    python shout.py --listen 127.0.0.1:7004
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(text: str) -> str:
    """Your model."""
    return text.upper()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many calls
    wbufsize = -1  # head and body leave together

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        frames = asked["inputs"]["in"]
        said = [{"text": {"text": answer(frame["text"]["text"])}} for frame in frames]
        self.reply(200, json.dumps({"outputs": {"out": said}}))

    def do_GET(self) -> None:
        self.reply(200 if self.path == "/readyz" else 404, "")

    def reply(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:7004")
    host, port = parser.parse_args().listen.rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"service on {host}:{server.server_port}", flush=True)
    server.serve_forever()
