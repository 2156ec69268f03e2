"""Somebody who issues tokens: makes keys of each kind, and signs claims with them by the `cryptography` package. Prints one JSON
object with the public sets of keys and the tokens; judges nothing."""

import argparse
import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return text(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def token(algorithm, kid, claims, sign):
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
    message = ".".join(text(json.dumps(part).encode()) for part in (header, claims))
    return f"{message}.{text(sign(message.encode()))}"


class Rsa:
    algorithm = "RS256"

    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)

    def jwk(self):
        numbers = self.key.public_key().public_numbers()
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "n": number(numbers.n), "e": number(numbers.e)}

    def sign(self, message):
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())


class Ecdsa:
    algorithm = "ES256"

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        numbers = self.key.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": number(numbers.x, 32), "y": number(numbers.y, 32)}

    def sign(self, message):
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Eddsa:
    algorithm = "EdDSA"

    def __init__(self):
        self.key = ed25519.Ed25519PrivateKey.generate()

    def jwk(self):
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": text(public)}

    def sign(self, message):
        return self.key.sign(message)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claims", help="as JSON")
    parser.add_argument("secret")
    args = parser.parse_args()
    claims = json.loads(args.claims)
    first = {kind.algorithm: kind() for kind in (Rsa, Ecdsa, Eddsa)}
    second = {"ES256": Ecdsa()}
    report = {"tokens": {}, "sets": []}
    for generation, keys in enumerate((first, second)):
        named = {f"{name}-{generation}": key for name, key in keys.items()}
        report["sets"].append({"keys": [{"kid": kid} | key.jwk() for kid, key in named.items()]})
        for kid, key in named.items():
            report["tokens"][kid] = token(key.algorithm, kid, claims, key.sign)
    digests = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
    for name, digest in digests.items():
        sign = lambda message: hmac.new(args.secret.encode(), message, digest).digest()
        report["tokens"][name] = token(name, None, claims, sign)
    print(json.dumps(report))


main()
