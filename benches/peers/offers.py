"""One way to begin for all WebRTC peers: `POST /` with an SDP offer answers 201 with the answer.
Just enough HTTP/1.1 for one request a connection; the measured part is the media."""

import argparse
import asyncio


def arguments(about, *more):
    """Where to listen, and what else is named."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--listen", default="127.0.0.1:0")
    for name in more:
        parser.add_argument(name)
    given = parser.parse_args()
    host, port = given.listen.rsplit(":", 1)
    return host, int(port), *(getattr(given, name) for name in more)


async def serve(host, port, answer):
    """Answers every offer by `await answer(offer)`; says where it listens on its first line."""

    async def one(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((line for line in head.splitlines() if line.startswith("content-length:")), ":0")
        offer = (await reader.readexactly(int(length.split(":")[1]))).decode()
        posted = head.startswith("post ")
        body = (await answer(offer)).encode() if posted else b""
        status = b"201 Created" if posted else b"405 Method Not Allowed"
        writer.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Type: application/sdp\r\nLocation: /1\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(one, host, port)
    print("listening on http://%s:%d" % server.sockets[0].getsockname()[:2], flush=True)
    await server.serve_forever()
