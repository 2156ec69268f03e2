"""A client that trusts one certificate and holds one token: HTTPS, gRPC and WebSocket over TLS on
the same port. Prints one JSON object; judges nothing."""

import argparse
import asyncio
import json
import ssl
import urllib.error
import urllib.request

import grpc
import websockets
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

TIMEOUT = 15


def https(url, trust, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, context=trust, timeout=TIMEOUT) as answer:
            return answer.status
    except urllib.error.HTTPError as answer:
        return answer.code


def over_grpc(address, certificate, token):
    """The status of a reflection call."""
    with open(certificate, "rb") as file:
        secure = grpc.ssl_channel_credentials(file.read())
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.secure_channel(address, secure) as channel:
        try:
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            next(iter(stub.ServerReflectionInfo(iter([request]), metadata=metadata, timeout=TIMEOUT)))
            return "OK"
        except grpc.RpcError as error:
            return error.code().name


async def over_websocket(address, trust, token):
    """What `open` is answered with, or the status of a refused upgrade."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"wss://{address}/v1/pipelines/echo/ws"
    try:
        async with websockets.connect(
            url, ssl=trust, additional_headers=headers, subprotocols=["tidegate.v1.json"]
        ) as socket:
            await socket.send('{"open":{"pipeline":"echo"}}')
            return next(iter(json.loads(await asyncio.wait_for(socket.recv(), TIMEOUT))))
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("certificate")
    parser.add_argument("token")
    options = parser.parse_args()
    trust = ssl.create_default_context(cafile=options.certificate)
    url = f"https://{options.address}"
    report = {"healthz": https(url + "/healthz", trust, None)}
    for who, token in (("nobody", None), ("wrong", "wrong"), ("right", options.token)):
        report[who] = {
            "https": https(url + "/v1/pipelines", trust, token),
            "metrics": https(url + "/metrics", trust, token),
            "grpc": over_grpc(options.address, options.certificate, token),
            "websocket": asyncio.run(over_websocket(options.address, trust, token)),
        }
    print(json.dumps(report))


main()
