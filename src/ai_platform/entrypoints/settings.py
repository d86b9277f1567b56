"""Settings of the listening side."""

import msgspec


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The listening side.

    host, port: address to listen on; port 0 takes a free one.
    public_url: what clients use to reach the platform when it stands behind a proxy; "" = the listening address.
    max_body_bytes: the largest request body. body_timeout: seconds a body may take to arrive.
    shutdown_seconds: how long a stop waits for calls under way.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    max_body_bytes: int = 32 * 1024 * 1024
    body_timeout: float = 60.0
    shutdown_seconds: int = 30
