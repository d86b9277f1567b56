"""An OpenID provider that does what a test tells it to: a real HTTP server, and tokens signed as a test wants them."""

import base64
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import RSAKey


@lru_cache
def _key() -> RSAKey:
    """Made once: it takes long."""
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class ScriptedProvider:
    """answers: path -> (status, body) that replace the usual ones. asked: paths in order."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.key = _key()
        self.shown: list[dict[str, Any]] = [dict(self.key.as_dict(private=False))]
        self.answers: dict[str, tuple[int, Any]] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, Any]:
        self.asked.append(path)
        usual = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            },
            "/keys": {"keys": self.shown},
        }
        return self.answers.get(path) or (200, usual.get(path, {}))

    def claims(self, now: float, **changes: Any) -> dict[str, Any]:
        """A good token's for the client `platform` and the nonce `n`; None takes a claim away."""
        usual = {
            "iss": self.issuer,
            "aud": "platform",
            "sub": "ann",
            "nonce": "n",
            "iat": int(now),
            "exp": int(now) + 300,
            "email": "ann@example.com",
            "email_verified": True,
            "groups": ["engineering"],
        }
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def token(
        self, claims: dict[str, Any], *, key: Any = None, algorithm: str = "RS256", kid: str | None = "one"
    ) -> str:
        header = {"alg": algorithm} | ({"kid": kid} if kid else {})
        return jwt.encode(header, claims, key or self.key, algorithms=[algorithm])

    def unsigned(self, claims: dict[str, Any]) -> str:
        return f"{part(json.dumps({'alg': 'none', 'kid': 'one'}).encode())}.{part(json.dumps(claims).encode())}."

    def signed_with_the_public_key(self, claims: dict[str, Any]) -> str:
        """Algorithm confusion: the public key, as text, taken for the secret of an HMAC."""
        secret = self.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        text = f"{part(json.dumps({'alg': 'HS256', 'kid': 'one'}).encode())}.{part(json.dumps(claims).encode())}"
        return f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}"


@contextmanager
def scripted(tls: ssl.SSLContext | None = None) -> Iterator[ScriptedProvider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = provider.answer(self.path)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **provider.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    provider = ScriptedProvider(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
