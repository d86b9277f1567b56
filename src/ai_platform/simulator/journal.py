"""The requests received, newest last, bounded: what a test looks at to see what arrived. Credentials are masked.

With `record_dir` each request is also written to a file with its body: bodies hold what the client sent, keep them
private.
"""

import base64
import hashlib
import os
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.simulator.asgi import Request
from ai_platform.simulator.ledger import key_label

_SECRET_HEADERS = frozenset({b"authorization", b"x-api-key", b"cookie", b"proxy-authorization"})


def _shown(name: bytes, value: bytes) -> list[str]:
    text = value.decode("latin-1")
    if name in _SECRET_HEADERS:
        scheme, _, secret = text.rpartition(" ")
        text = f"{scheme} ***{key_label(secret)}".lstrip()
    return [name.decode("latin-1"), text]


class Entry:
    """One request; the answer's status, scenario and events follow when it has been given."""

    __slots__ = ("body", "facts", "path")

    def __init__(self, request: Request, *, keep_body: bool) -> None:
        self.path = request.path
        self.body = request.body if keep_body else None
        self.facts: dict[str, Any] = {
            "id": request.id,
            "at": request.received_at,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": [_shown(name, value) for name, value in request.headers],
            "body_size": len(request.body),
            "body_sha256": hashlib.sha256(request.body).hexdigest(),
        }

    def line(self, *, with_body: bool) -> dict[str, Any]:
        if not with_body or self.body is None:
            return self.facts
        return {**self.facts, "body_base64": base64.b64encode(self.body).decode()}


class Journal:
    """size: requests kept; body_bytes: all kept bodies together (0 keeps none)."""

    def __init__(self, size: int, *, body_bytes: int = 0, folder: Path | None = None) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._body_bytes = body_bytes
        self._kept_bytes = 0
        self._folder = folder
        self._number = 0

    def record(self, request: Request) -> Entry:
        self._number += 1
        if len(self._entries) == self._entries.maxlen and self._entries:
            self._forget(self._entries.popleft())
        entry = Entry(request, keep_body=self._body_bytes > 0)
        self._entries.append(entry)
        self._kept_bytes += len(entry.body or b"")
        for old in self._entries:
            if self._kept_bytes <= self._body_bytes:
                break
            self._forget(old)
        if self._folder is not None:
            self._write(entry, request.body, self._folder)
        return entry

    def lines(self, *, limit: int, path: str = "", with_body: bool = False) -> list[dict[str, Any]]:
        """The newest `limit` requests whose path starts with `path`, oldest first."""
        found = [entry for entry in self._entries if entry.path.startswith(path)]
        return [entry.line(with_body=with_body) for entry in found[-limit:]] if limit > 0 else []

    def clear(self) -> None:
        self._entries.clear()
        self._kept_bytes = 0

    def _forget(self, entry: Entry) -> None:
        self._kept_bytes -= len(entry.body or b"")
        entry.body = None

    def _write(self, entry: Entry, body: bytes, folder: Path) -> None:
        line = {**entry.facts, "body": body.decode("utf-8", "replace")}
        path = folder / f"{self._number:05d}.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(line), indent=1))
