"""What a connection is told: the request as bytes, and the limits that hold."""

import msgspec


class Outgoing(msgspec.Struct, frozen=True):
    """A request as it goes on the wire."""

    head: bytes
    body: bytes = b""
    bodiless_answer: bool = False
    """The method was HEAD: the answer's content-length announces nothing."""

    def __repr__(self) -> str:
        return f"Outgoing(<{len(self.head)} bytes with a credential>, <{len(self.body)} bytes>)"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and bytes that hold for one connection; see UpstreamSettings."""

    name: str
    first_byte: float
    idle: float
    total: float
    keep_alive: float
    max_body: int
    max_head: int
