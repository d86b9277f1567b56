"""The Files API in memory: upload (multipart), list, metadata, content, delete. Bounded by the settings."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from email.message import Message
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.simulator.answers import Answer, Payload, json_payload
from ai_platform.simulator.asgi import Request
from ai_platform.simulator.batches import rfc3339
from ai_platform.simulator.errors import ApiError, invalid, not_found


class _Stored(msgspec.Struct):
    id: str
    key: str
    name: str
    mime: str
    data: bytes
    created: float
    expires: float | None

    def info(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "file",
            "filename": self.name,
            "mime_type": self.mime,
            "size_bytes": len(self.data),
            "created_at": rfc3339(self.created),
            "expires_at": rfc3339(self.expires) if self.expires is not None else None,
            "downloadable": True,
        }


class FilesApi:
    """Unlike the real service, every file may be downloaded: what went in can be compared with what comes out."""

    def __init__(self, *, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._files: OrderedDict[str, _Stored] = OrderedDict()

    def upload(self, request: Request) -> Answer:
        """Raises ApiError: 400 not multipart or no `file` part, 403 storage full."""
        parts = form_data(request.body, (request.header(b"content-type") or b"").decode("latin-1"))
        if "file" not in parts:
            raise invalid("file: Field required")
        name, mime, data = parts["file"]
        if sum(len(stored.data) for stored in self._files.values()) + len(data) > self._max_bytes:
            raise ApiError(403, "Storage quota exceeded: delete files of the simulated upstream and try again")
        now = self._clock.now()
        lifetime = parts.get("expires_in_seconds")
        expires = None
        if lifetime is not None:
            text = lifetime[2].decode("latin-1")
            seconds = int(text) if text.isdigit() else 0
            if not 3600 <= seconds <= 7_776_000:
                raise invalid("expires_in_seconds: Input should be between 3600 and 7776000")
            expires = now + seconds
        stored = _Stored(
            id=f"file_01{secrets.token_hex(11)}",
            key=request.key,
            name=name.replace("\\", "/").rpartition("/")[2] or "unnamed",
            mime=mime or "application/octet-stream",
            data=data,
            created=now,
            expires=expires,
        )
        self._files[stored.id] = stored
        return json_payload(stored.info())

    def listing(self, request: Request, query: Mapping[str, str]) -> Answer:
        """One page, newest first: `{data, has_more, next_page}`; the cursor is `page_` and the id of the next file."""
        mine = [stored for stored in reversed(self._files.values()) if stored.key == request.key]
        text = query.get("limit", "20")
        limit = int(text) if text.isdigit() else 0
        if not 1 <= limit <= 1000:
            raise invalid("limit: Input should be between 1 and 1000")
        cursor = query.get("page", "").removeprefix("page_")
        start = next((place for place, stored in enumerate(mine) if stored.id == cursor), len(mine)) if cursor else 0
        shown, rest = mine[start : start + limit], mine[start + limit :]
        return json_payload(
            {
                "data": [stored.info() for stored in shown],
                "has_more": bool(rest),
                "first_id": shown[0].id if shown else None,
                "last_id": shown[-1].id if shown else None,
                "next_page": f"page_{rest[0].id}" if rest else None,
            }
        )

    def one(self, request: Request, identifier: str) -> Answer:
        return json_payload(self._find(request, identifier).info())

    def content(self, request: Request, identifier: str) -> Answer:
        stored = self._find(request, identifier)
        return Payload(body=stored.data, content_type=stored.mime.encode("latin-1", "replace"))

    def delete(self, request: Request, identifier: str) -> Answer:
        stored = self._find(request, identifier)
        del self._files[stored.id]
        return json_payload({"id": stored.id, "type": "file_deleted"})

    def clear(self) -> None:
        self._files.clear()

    def _find(self, request: Request, identifier: str) -> _Stored:
        stored = self._files.get(identifier)
        if stored is None or stored.key != request.key:
            raise not_found(f"File not found: {identifier}")
        if stored.expires is not None and stored.expires <= self._clock.now():
            raise not_found(f"File expired: {identifier}")
        return stored


def form_data(body: bytes, content_type: str) -> dict[str, tuple[str, str, bytes]]:
    """multipart/form-data (RFC 7578) as {field: (filename, content type, data)}; of equal names the last wins.

    Raises:
        ApiError: 400, not multipart or broken.

    """
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise invalid("Content-Type must be multipart/form-data with a boundary")
    found: dict[str, tuple[str, str, bytes]] = {}
    # Every part starts with CRLF, --boundary; the body's first one has no CRLF before it.
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            return found
        head, separator, data = piece.partition(b"\r\n\r\n")
        if not separator:
            raise invalid("The multipart body is malformed")
        part = Message()
        for line in head.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                part[name.strip()] = value.strip()
        field = part.get_param("name", header="content-disposition")
        filename = part.get_param("filename", header="content-disposition")
        if isinstance(field, str):
            mime = part.get_content_type() if "content-type" in part else ""
            found[field] = (filename if isinstance(filename, str) else "", mime, data)
    raise invalid("The multipart body is malformed")
