"""What the attacks need: a client that writes raw bytes, and an upstream that answers with raw bytes."""

import contextlib
import json
import re
import select
import socket
import socketserver
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

BOUND = 20.0
MODEL = "claude-sonnet-5-5"
JSON = "content-type: application/json"


def message(text: str = "hi", **fields: Any) -> bytes:
    body = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": text}], **fields}
    return json.dumps(body).encode()


def request(
    method: str = "POST",
    path: str = "/v1/messages",
    body: bytes = b"",
    *lines: str | bytes,
    key: str | None = None,
    version: str = "1.1",
    length: bool = True,
    host: str | None = "gateway.test",
) -> bytes:
    """The bytes of a request; `lines` are further header lines as they are to be sent."""
    head: list[bytes] = [f"{method} {path} HTTP/{version}".encode("latin-1")]
    if host is not None:
        head.append(f"host: {host}".encode())
    if key is not None:
        head.append(f"authorization: Bearer {key}".encode())
    if body and length:
        head.append(b"content-length: %d" % len(body))
    head += [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


class Answer:
    """One answer off the wire. text: the plain body; framed: the body as it was sent."""

    def __init__(self, status: int, fields: list[tuple[str, str]], framed: bytes, text: bytes) -> None:
        self.status = status
        self.fields = fields
        self.framed = framed
        self.text = text

    def field(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def says(self) -> str:
        """The message of an error in the shape of the Messages API, which it must have."""
        body = self.json
        assert body["type"] == "error"
        assert set(body["error"]) >= {"type", "message"}
        return str(body["error"]["message"])


class Line:
    """A connection to the gateway on which anything may be written."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(BOUND)
        self.socket.connect(("127.0.0.1", port))
        self.got = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> "Line":
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def until(self, mark: bytes) -> bytes:
        """Read until `mark` has come; what was read so far stays in `got`."""
        while mark not in self.got:
            chunk = self.socket.recv(65536)
            assert chunk, f"the connection ended before {mark!r}: {self.got[-2000:]!r}"
            self.got += chunk
        return self.got

    def rest(self) -> bytes:
        """Everything up to the end of the connection, which must come (orderly or not)."""
        with contextlib.suppress(ConnectionError):
            self.to_the_end()
        return self.got

    def to_the_end(self) -> None:
        """The same; raises ConnectionError when the end is not orderly."""
        while chunk := self.socket.recv(65536):
            self.got += chunk

    def reset(self) -> None:
        """Leave without a farewell."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def is_closed(self) -> bool:
        """Whether the other side ends the connection within the bound, discarding what comes before."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def answer(self, method: str = "POST") -> Answer:
        """The next final answer, to a request of this method."""
        while True:
            self.until(b"\r\n\r\n")
            head, _, self.got = self.got.partition(b"\r\n\r\n")
            start, *lines = head.decode("latin-1").split("\r\n")
            fields = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
            status = int(start.split(" ")[1])
            if status >= 200:
                return self._body(status, fields, method)

    def _body(self, status: int, fields: list[tuple[str, str]], method: str) -> Answer:
        names = dict(fields)
        if status in {204, 304} or method == "HEAD":
            return Answer(status, fields, b"", b"")
        if names.get("transfer-encoding") == "chunked":
            framed = text = b""
            while True:
                self.until(b"\r\n")
                size, _, rest = self.got.partition(b"\r\n")
                length = int(size.partition(b";")[0], 16)
                while len(rest) < length + 2:
                    rest += self._more()
                framed += size + b"\r\n" + rest[: length + 2]
                text += rest[:length]
                self.got = rest[length + 2 :]
                if not length:
                    return Answer(status, fields, framed, text)
        if "content-length" in names:
            length = int(names["content-length"])
            while len(self.got) < length:
                self.got += self._more()
            text, self.got = self.got[:length], self.got[length:]
            return Answer(status, fields, text, text)
        text = self.rest()
        self.got = b""
        return Answer(status, fields, text, text)

    def _more(self) -> bytes:
        chunk = self.socket.recv(65536)
        assert chunk, "the connection ended within a body"
        return chunk


class Asked:
    """A request that reached the upstream."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        self.body = body
        self.line = head.partition(b"\r\n")[0].decode("latin-1")


Script = Callable[["Wire"], None]


class Wire:
    """One connection of the gateway to the upstream."""

    def __init__(self, connection: socket.socket, upstream: "RawUpstream") -> None:
        self.socket = connection
        self.upstream = upstream

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def hung_up(self) -> bool:
        """Whether the gateway ends the connection within the bound."""
        try:
            return self.socket.recv(65536) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


class RawUpstream:
    """Answers each request with the next script, or with `usual`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.scripts: deque[Script | bytes] = deque()
        self.usual: Script | bytes = REPLY
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        self.scripts.clear()
        self.asked.clear()
        self.usual = REPLY

    def next(self, *scripts: Script | bytes) -> None:
        self.scripts.extend(scripts)

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(BOUND)
        wire = Wire(connection, self)
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                if not (chunk := connection.recv(65536)):
                    return
                buffer += chunk
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            size = int(length[1]) if length else 0
            while len(buffer) < size:
                if not (chunk := connection.recv(65536)):
                    return
                buffer += chunk
            body, buffer = buffer[:size], buffer[size:]
            self.asked.append(Asked(head, body))
            script = self.scripts.popleft() if self.scripts else self.usual
            if isinstance(script, bytes):
                connection.sendall(script)
            else:
                script(wire)
                return


def reply(body: bytes, *lines: str, status: int = 200, kind: str = "application/json", length: bool = True) -> bytes:
    head = [f"HTTP/1.1 {status} Reason"]
    if kind:
        head.append(f"content-type: {kind}")
    if length:
        head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, *lines]).encode("latin-1") + b"\r\n\r\n" + body


def answer_body(text: str = "fine", **fields: Any) -> bytes:
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "output_tokens": 2},
            **fields,
        }
    ).encode()


REPLY = reply(answer_body())


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
)
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
END = (
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    + event("message_stop")
)
SSE = "text/event-stream; charset=utf-8"


def delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def stream(*texts: str, end: bytes = END) -> bytes:
    return START + BLOCK + b"".join(map(delta, texts)) + end


def chunked(*pieces: bytes, last: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + (b"0\r\n\r\n" if last else b"")


STREAM_HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: {SSE}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


@contextmanager
def raw_upstream() -> Iterator[RawUpstream]:
    upstream = RawUpstream()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                upstream.serve(self.request)
            except (ConnectionError, TimeoutError):
                return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Handler) as server:
        upstream.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()


def eventually(check: Callable[[], Any], *, within: float = BOUND) -> Any:
    """The first true result of `check()`; an assertion error when there is none in time."""
    deadline = time.monotonic() + within
    pause = select.poll()
    while not (result := check()):
        assert time.monotonic() < deadline, "it did not become true in time"
        pause.poll(10)
    return result
