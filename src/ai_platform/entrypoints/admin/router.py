"""The admin API's door: authenticate, check the endpoint's permission, run it, record the action, encode the result.

Default deny: an endpoint cannot be declared without a permission, and nothing else is routed here.
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from ai_platform.audit import Trail
from ai_platform.domain.call import Client
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall, PlatformError, Unauthenticated
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.entrypoints.errors import answer_to
from ai_platform.entrypoints.fields import Fields, check_fields, check_target, client_of, credentials_of
from ai_platform.entrypoints.http import (
    ClientGoneError,
    DefectsTold,
    Receive,
    Scope,
    Send,
    WhileConnected,
    read_body,
    send_chunks,
    send_whole,
)
from ai_platform.gateway.failures import FailureLimit
from ai_platform.identity import Authenticator

MAX_BODY = 4 * 1024 * 1024
BODY_SECONDS = 30.0
MOST_PARAMS = 32
LONGEST_PARAM = 1000
_PARAMETER = re.compile(r"\{(\w+)\}")


TENANT = b"x-ai-platform-tenant"
"""Header: who runs the platform works inside this tenant, for one request."""


class Tenants(Protocol):
    async def get(self, name: str) -> Any:
        """Raises NotFound."""
        ...


class AdminRouter:
    """endpoints: every room's; the order does not matter, two endpoints never match the same path.

    tenants: those that may be entered; None = no other than the caller's.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        identity: Authenticator,
        trail: Trail,
        clock: Clock,
        tenants: Tenants | None = None,
    ) -> None:
        own = Endpoint("GET", "/admin/routes", Permission.USAGE_READ_OWN, self._routes)
        self.endpoints = (*endpoints, own)
        self._tenants = tenants
        self._identity = identity
        self._trail = trail
        self._clock = clock
        self._failures = FailureLimit()
        self._patterns = [(endpoint, _pattern(endpoint.path)) for endpoint in self.endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id("adm", self._clock.now())
        try:
            with DefectsTold(request_id):
                await self._serve(scope, receive, send, request_id)
        except ClientGoneError:
            return
        except Denied as error:  # 403 here: no Claude client reads this door, and admin tools expect it
            status, headers, content = answer_to(error, request_id)
            await send_whole(send, 403 if error.reason is Refusal.PERMISSION_MISSING else status, headers, content)
        except PlatformError as error:
            await send_whole(send, *answer_to(error, request_id))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        fields = Fields(scope["headers"])
        client = client_of(scope, fields)
        check_fields(fields)
        check_target(scope, credentials_of(fields))
        caller = await self._caller(fields, client, request_id)
        caller = await self._inside(caller, fields.get(TENANT).decode("latin-1"))
        found = self._find(scope["method"], scope["path"])
        if found is None:
            await self._missing(scope, send, request_id)
            return
        endpoint, path_params = found
        if not caller.may(endpoint.permission):
            facts = {"result": "refused", "reason": Refusal.PERMISSION_MISSING.value}
            await self._record(EventType.CALL_REFUSED, caller, client, request_id, _action(endpoint, caller) | facts)
            raise Denied(
                Refusal.PERMISSION_MISSING,
                f"{endpoint.method} {endpoint.path} needs the permission {endpoint.permission.value!r}, which your"
                " key does not have. Ask an admin for a key with that scope.",
                rule=endpoint.permission.value,
            )
        body = await read_body(scope, receive, limit=MAX_BODY, timeout=BODY_SECONDS)
        params = _params(scope["query_string"]) | path_params
        _check_params(params)
        request = AdminRequest(principal=caller, params=params, body=_object(body))
        if endpoint.changes:
            facts = _action(endpoint, caller) | {"target": params.get("id", "")[:200] or None}
            await self._record(EventType.ADMIN_ACTION, caller, client, request_id, facts)
        result = await endpoint.handle(request)
        if isinstance(result, AsyncIterator):
            async with WhileConnected(scope):  # it may have nothing to say for hours
                await _send_lines(result, send)
        else:
            await _send_document(result, send)

    async def _caller(self, fields: Fields, client: Client, request_id: str) -> Principal:
        """Who calls; a failed sign-in is recorded, as at the other doors.

        Raises:
            Unauthenticated, RateLimited, StoreUnavailable: as the authenticator does.
        """
        try:
            return await self._identity.authenticate(credentials_of(fields), client)
        except Unauthenticated as error:
            skipped = self._failures.admit(client.ip, self._clock.monotonic())
            if skipped is not None:
                facts = {
                    "success": False,
                    "result": "refused",
                    "reason": error.reason.value,
                    "door": "admin",
                    "unrecorded": skipped,
                }
                await self._record(EventType.AUTHENTICATION, None, client, request_id, facts)
            raise

    async def _inside(self, caller: Principal, tenant: str) -> Principal:
        """The caller as of the tenant that they want to enter.

        Raises:
            Denied: they may not, whether it exists or not.
            NotFound: it does not exist.

        """
        if tenant in {"", caller.tenant}:
            return caller
        if self._tenants is None or not caller.may(Permission.TENANTS_ENTER):
            raise Denied(
                Refusal.PERMISSION_MISSING,
                f"You may not work inside another tenant: that needs {Permission.TENANTS_ENTER.value!r} in the"
                " operator's own.",
                rule=Permission.TENANTS_ENTER.value,
            )
        await self._tenants.get(tenant)
        return msgspec.structs.replace(caller, tenant=tenant)

    def _find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        for endpoint, pattern in self._patterns:
            if endpoint.method == method and (match := pattern.fullmatch(path)):
                return endpoint, match.groupdict()
        return None

    async def _routes(self, request: AdminRequest) -> list[dict[str, Any]]:
        """Every endpoint, what it needs, and whether the caller may use it."""
        return [
            {
                "method": endpoint.method,
                "path": endpoint.path,
                "permission": endpoint.permission.value,
                "changes": endpoint.changes,
                "allowed": request.principal.may(endpoint.permission),
            }
            for endpoint in self.endpoints
        ]

    async def _missing(self, scope: Scope, send: Send, request_id: str) -> None:
        error = InvalidCall(
            Refusal.INVALID_REQUEST, f"There is no admin endpoint {scope['method']} {scope['path'][:200]}."
        )
        _, headers, body = answer_to(error, request_id)
        await send_whole(send, 404, headers, body)

    async def _record(
        self, kind: EventType, caller: Principal | None, client: Client, request_id: str, facts: dict[str, Any]
    ) -> None:
        """Raises AuditUnavailable: nothing is done here that is not recorded."""
        now = self._clock.now()
        personal: dict[str, Any] = {"ip_address": client.ip}
        if caller is not None:
            personal |= {"user_name": caller.name, "user_email": caller.email}
        event = Event(
            id=new_id("evt", now),
            type=kind,
            at=now,
            call_id=request_id,
            subject=caller.id if caller else None,
            personal=personal,
            facts={"tenant": caller.tenant, **facts} if caller else facts,
        )
        await self._trail.append((event,))


def _action(endpoint: Endpoint, caller: Principal) -> dict[str, Any]:
    return {
        "action": f"{endpoint.method} {endpoint.path}",
        "permission": endpoint.permission.value,
        "key_id": caller.key_id,
    }


def _params(query: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_PARAMS))
    except ValueError as error:
        message = f"At most {MOST_PARAMS} parameters are taken."
        raise InvalidCall(Refusal.INVALID_REQUEST, message) from error


def _check_params(params: dict[str, str]) -> None:
    """Raises InvalidCall for what no database takes and nobody means."""
    for name, value in params.items():
        if len(value) > LONGEST_PARAM or any(letter < " " for letter in value):
            raise InvalidCall(
                Refusal.INVALID_REQUEST,
                f"The parameter {name[:60]!r} must be text of at most {LONGEST_PARAM} characters, without control"
                " characters.",
            )


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", path))


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidCall(Refusal.INVALID_REQUEST, f"The request body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidCall(Refusal.INVALID_REQUEST, "The request body must be a JSON object.")
    return value


async def _send_lines(lines: AsyncIterator[bytes], send: Send) -> None:
    headers = [(b"content-type", b"application/jsonl"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send_chunks(send, lines)


async def _send_document(result: Any, send: Send) -> None:
    content = msgspec.json.encode(result)
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send_whole(send, 200, headers, content)
