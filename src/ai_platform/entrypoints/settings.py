"""Settings of the listening side."""

import msgspec


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The listening side. Times are seconds.

    host, port: address to listen on; port 0 takes a free one.
    public_url: what clients use to reach the platform when it stands behind a proxy; "" = the listening address.
    max_connections: open connections; further ones are told to come back. Fewer when the system allows fewer files.
    max_calls: calls under way; further ones are answered 503 with a `retry-after`.
    max_body_bytes: the largest request body.
    max_held_bytes: request bodies of all calls under way together; what exceeds it is answered 503.
    head_timeout: for the head of a request to arrive. body_timeout: for its body.
    write_timeout: how long a client may take nothing of an answer before it is hung up on.
    idle_timeout: how long a connection is kept open between requests.
    shutdown_seconds: how long a stop waits for calls under way.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    max_connections: int = 10_000
    max_calls: int = 4_000
    max_body_bytes: int = 32 * 1024 * 1024
    max_held_bytes: int = 1024 * 1024 * 1024
    head_timeout: float = 30.0
    body_timeout: float = 60.0
    write_timeout: float = 60.0
    idle_timeout: float = 75.0
    shutdown_seconds: int = 30
