"""What differs between kinds of upstream."""

from collections.abc import Mapping
from typing import Protocol

from ai_platform.domain.call import Answer, Call
from ai_platform.domain.route import Target
from ai_platform.upstream.settings import UpstreamSettings
from ai_platform.upstream.wire import Outgoing


class Adapter(Protocol):
    """Translates between the platform's Call and Answer and one kind of server. Keeps no state of a call."""

    @property
    def credential_version(self) -> int:
        """Which secret `outgoing` uses now."""
        ...

    def outgoing(self, call: Call, target: Target) -> Outgoing:
        """The request as it goes on the wire: URL, header fields, credential, body.

        Raises:
            InvalidCall: the call cannot be written as one unambiguous HTTP request.

        """
        ...

    def incoming(self, answer: Answer) -> Answer:
        """The answer as the Messages API would have sent it. Called once per answer that is handed on."""
        ...

    async def renew(self, used: int) -> bool:
        """After a 401: whether there is a newer secret than version `used`."""
        ...


class AdapterFactory(Protocol):
    """via: `http://host:port` before the path and via_lines: header lines, both for a plain HTTP proxy, else empty."""

    def __call__(
        self, settings: UpstreamSettings, environ: Mapping[str, str], *, via: bytes, via_lines: bytes
    ) -> Adapter: ...
