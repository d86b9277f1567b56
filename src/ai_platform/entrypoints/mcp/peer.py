"""The client of one request, as the rooms below reach it: domain.Peer over the SDK's session."""

from collections.abc import Mapping
from typing import Any, cast

from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    LOG_LEVEL_META_KEY,
    CreateMessageRequest,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequest,
    ElicitResult,
    ListRootsRequest,
    ListRootsResult,
    methods,
)
from pydantic import BaseModel, ValidationError

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.entrypoints.mcp.visit import Context

ANSWER_SECONDS = 600.0
"""How long a person may think before the call that asked them goes on without."""

ASKED = frozenset({"elicitation", "sampling", "roots"})
"""Capabilities of clients that servers may use in the middle of a call."""

_RESULTS: dict[type[BaseModel], type[BaseModel]] = {
    ElicitRequest: ElicitResult,
    ListRootsRequest: ListRootsResult,
    CreateMessageRequest: CreateMessageResult,
}


class DoorPeer:
    """set_level: what a session asked for with `logging/setLevel`."""

    def __init__(self, context: Context, session: str | None, set_level: str | None = None) -> None:
        self._context = context
        self.session = session
        self.capabilities = capabilities_of(context)
        level = (context.meta or {}).get(LOG_LEVEL_META_KEY) if session is None else set_level
        self.log_level = level if isinstance(level, str) else None

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        await self._context.session.report_progress(progress, total, message)

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """What this client's version of the protocol has no notion of is left out."""
        try:
            notification = methods.parse_server_notification(method, self._context.protocol_version, dict(params))
        except (KeyError, ValidationError):
            return
        await self._context.session.send_notification(
            cast("Any", notification), related_request_id=self._context.request_id
        )

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidCall: the client cannot be asked, refuses, or answers something else."""
        try:
            request = methods.parse_server_request(method, self._context.protocol_version, dict(params) or None)
            expected = _RESULTS[type(request)]
            if isinstance(request, CreateMessageRequest) and request.params.tools:
                expected = CreateMessageResultWithTools
            answer = await self._context.session.send_request(
                cast("Any", request),
                expected,
                request_read_timeout_seconds=ANSWER_SECONDS,
                metadata=ServerMessageMetadata(related_request_id=self._context.request_id),
            )
        except NoBackChannelError as error:
            raise _cannot("it has no session in which it could be asked") from error
        except MCPError as error:
            raise _cannot(error.message[:200]) from error
        except (KeyError, ValidationError) as error:
            raise _cannot("what was asked, or answered, is not of the protocol") from error
        return answer.model_dump(by_alias=True, mode="json", exclude_none=True)


def capabilities_of(context: Context) -> dict[str, Any]:
    """What the client says that it can be asked for, as on the wire."""
    declared = context.session.client_capabilities
    if declared is None:
        return {}
    return declared.model_dump(by_alias=True, mode="json", exclude_none=True, include=set(ASKED))


def _cannot(why: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, f"The client did not answer: {why}.")
