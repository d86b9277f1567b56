"""The client of a tool call while the call is under way: what it hears before the result, and what it may be asked."""

from collections.abc import Mapping
from typing import Any, Protocol


class Peer(Protocol):
    """Implemented by the door; used by the rooms that carry the call out.

    session: the client's session at the door (2025-11-25), None for a client without sessions (2026-07-28).
    capabilities: what the client says it can do, as on the wire (`elicitation`, `sampling`, `roots`).
    log_level: the least severity of log messages it asked for. None: a client with a session takes what comes
    (2025-11-25), one without wants none (2026-07-28).
    """

    @property
    def session(self) -> str | None: ...

    @property
    def capabilities(self) -> Mapping[str, Any]: ...

    @property
    def log_level(self) -> str | None: ...

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Tell how far the call is; nothing is sent to a client that did not ask."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Pass a notification of the server on, such as `notifications/message`."""
        ...

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the client in the middle of the call and return its answer; only a client with a session can be asked.

        Raises:
            InvalidCall: it cannot answer this.
        """
        ...
