"""The provisioning door, /scim/v2: authenticate, bound, hand over to scim2-server, record every change, answer.

The credential is a platform key with the permission identity:scim:provision (scope `scim`); its tenant is the only one
that is seen. Addresses in answers are the platform's own, whatever the Host field says. Above: bootstrap.
Below: scim, identity, audit.
"""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec
from scim2_models import Error, SCIMException
from scim2_server.handler import AsyncScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.service import ScimService

from ai_platform.audit import Trail
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall, PlatformError, Refused, StoreUnavailable
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.errors import sentence, shape_of
from ai_platform.entrypoints.fields import Fields, check_fields, check_target, client_of, credentials_of
from ai_platform.entrypoints.http import ClientGoneError, DefectsTold, Receive, Scope, Send, read_body, send_whole
from ai_platform.gateway.failures import FailureLimit
from ai_platform.identity import Authenticator
from ai_platform.scim.service import provider_of
from ai_platform.scim.settings import ScimSettings
from ai_platform.scim.storage import Change, Groups, Listener, TenantStorage
from ai_platform.scim.tolerance import straightened
from ai_platform.sso.limits import Limiter
from ai_platform.stores.postgres import Database

PREFIX = "/scim/v2"
BODY_SECONDS = 30.0
MOST_PARAMS = 20
READING = frozenset({"GET", "HEAD"})


class Admins(Protocol):
    """Watches over keys that may do everything."""

    async def ended(self, principal: str, tenant: str) -> None:
        """Tell people when the last such key of this tenant ended with this principal. Raises StoreUnavailable."""
        ...


class ScimDoor:
    """changes: users and groups created, changed, deleted. refused: requests that were turned away.

    unwatched: ends after which nobody could see whether an admin key was left.
    """

    def __init__(
        self,
        settings: ScimSettings,
        database: Database,
        *,
        identity: Authenticator,
        trail: Trail,
        clock: Clock,
        url: str,
        groups: Groups,
        admins: Admins,
    ) -> None:
        """url: the platform's own address. groups: which of them give something."""
        self._settings = settings
        self._database = database
        self._identity = identity
        self._trail = trail
        self._clock = clock
        self._groups = groups
        self._admins = admins
        self._base = url.rstrip("/") + PREFIX
        self._provider = provider_of(settings)
        self._service = ScimService(self._provider)
        self._limiter = Limiter(clock, limit=settings.requests_per_minute, seconds=60.0)
        self._failures = FailureLimit()
        self.changes = 0
        self.refused = 0
        self.unwatched = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id("scm", self._clock.now())
        try:
            with DefectsTold(request_id):
                response = await self._answer(scope, receive, request_id)
        except ClientGoneError:
            return
        except PlatformError as error:
            response = self._refusal(error)
        await _send(response, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> ScimResponse:
        fields = Fields(scope["headers"])
        check_fields(fields)
        check_target(scope, credentials_of(fields))
        caller = await self._caller(scope, fields, request_id)
        if wait := self._limiter.wait(caller.key_id or caller.id):
            self.refused += 1
            response = _error(429, "Too many requests. Wait a moment.")
            response.headers["Retry-After"] = str(math.ceil(wait))
            return response
        self._limiter.count(caller.key_id or caller.id)
        body = await read_body(scope, receive, limit=self._settings.body_bytes, timeout=BODY_SECONDS)
        if scope["method"] == "PATCH" or scope["path"].endswith("/Bulk"):
            body = straightened(body)
        request = self._request(scope, body)
        listener = _Recorder(self, caller, request_id, _what(scope))
        storage = TenantStorage(
            self._database,
            caller.tenant,
            self._provider,
            clock=self._clock,
            settings=self._settings,
            listener=listener,
            locks=scope["method"] not in READING,
        )
        try:
            response = await AsyncScimHandler(self._service, storage).handle(request)
        except SCIMException as error:
            response = self._service.error_response(error)
        for principal in listener.ended:
            await self._tell_of(principal, caller.tenant)
        return response

    async def _tell_of(self, principal: str, tenant: str) -> None:
        """Fails open: the change is made and recorded, and a directory that hears an error makes it again."""
        try:
            await self._admins.ended(principal, tenant)
        except StoreUnavailable:
            self.unwatched += 1

    async def _caller(self, scope: Scope, fields: Fields, request_id: str) -> Principal:
        """Raises Refused, StoreUnavailable, AuditUnavailable."""
        client = client_of(scope, fields)
        try:
            caller = await self._identity.authenticate(credentials_of(fields), client)
            if not caller.may(Permission.PROVISION):
                raise Denied(
                    Refusal.PERMISSION_MISSING,
                    "Provisioning needs a key with the scope `scim`:"
                    " ai-platform keys create NAME --service --role admin --scope scim",
                    rule=Permission.PROVISION.value,
                )
        except Refused as error:
            self.refused += 1
            skipped = self._failures.admit(client.ip, self._clock.monotonic())
            if skipped is not None:
                facts = {"success": False, "result": "refused", "reason": error.reason.value, "door": "scim"}
                await self._record(request_id, EventType.AUTHENTICATION, facts | {"unrecorded": skipped}, client.ip)
            raise
        return caller

    async def _record(self, request_id: str, kind: EventType, facts: dict[str, Any], ip: str) -> None:
        now = self._clock.now()
        event = Event(
            id=new_id("evt", now), type=kind, at=now, call_id=request_id, personal={"ip_address": ip}, facts=facts
        )
        await self._trail.append((event,))

    def _request(self, scope: Scope, body: bytes) -> ScimRequest:
        """Raises InvalidCall: the path or the query is not usable."""
        path = unquote(scope["raw_path"].decode("latin-1")[len(PREFIX) :])
        try:
            query = dict(
                parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_PARAMS)
            )
        except ValueError as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, f"At most {MOST_PARAMS} parameters are taken.") from error
        if not (path == "" or path.startswith("/")) or not path.isprintable():
            path = "/not/an/address"
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        return ScimRequest(
            method=scope["method"], base_url=self._base, path=path, query=query, headers=headers, body=body
        )

    async def recorded(self, caller: Principal, request_id: str, what: str, changes: Sequence[Change]) -> None:
        """One event a change, durable. Raises AuditUnavailable: then the change is undone."""
        now = self._clock.now()
        await self._trail.append([_event(change, caller, request_id, what, now) for change in changes])

    async def mapped(self, group: str, tenant: str) -> bool:
        return await self._groups.mapped(group, tenant)

    def done(self, changes: Sequence[Change]) -> None:
        self.changes += len(changes)
        for change in changes:
            if change.ended and change.principal:
                self._identity.ended.add(principal=change.principal)

    def _refusal(self, error: PlatformError) -> ScimResponse:
        shape = shape_of(error)
        status = 403 if isinstance(error, Denied) else shape.status
        response = _error(status, sentence(error))
        if status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Bearer realm="SCIM"'
        if shape.retry_after is not None:
            response.headers["Retry-After"] = str(max(1, math.ceil(shape.retry_after)))
        return response


class _Recorder(Listener):
    """What one request's storage tells. ended: principals whose access ended by it."""

    def __init__(self, door: ScimDoor, caller: Principal, request_id: str, what: str) -> None:
        self._door = door
        self._caller = caller
        self._request_id = request_id
        self._what = what
        self.ended: list[str] = []

    async def recording(self, changes: Sequence[Change]) -> None:
        await self._door.recorded(self._caller, self._request_id, self._what, changes)

    def done(self, changes: Sequence[Change]) -> None:
        self._door.done(changes)
        self.ended += [change.principal for change in changes if change.ended and change.principal]

    async def mapped(self, group: str) -> bool:
        return await self._door.mapped(group, self._caller.tenant)


def _event(change: Change, caller: Principal, request_id: str, what: str, now: float) -> Event:
    """subject: whom it is about, so that a search for a person finds it."""
    facts = {
        "action": f"scim {change.action}",
        "request": what,
        "resource": change.kind,
        "target": change.id,
        "principal": change.principal,
        "access_ended": change.ended,
        "permission": Permission.PROVISION.value,
        "key_id": caller.key_id,
        "by": caller.id,
        "tenant": caller.tenant,
        **change.facts,
    }
    personal = {"user_email": change.email, "user_name": change.name} if change.name else {}
    return Event(
        id=new_id("evt", now),
        type=EventType.ADMIN_ACTION,
        at=now,
        call_id=request_id,
        subject=change.principal,
        personal=personal,
        facts=facts,
    )


def _what(scope: Scope) -> str:
    """The request without what names a person."""
    return f"{scope['method']} {'/'.join(scope['path'].split('/')[:4])[:60]}"


def _error(status: int, detail: str) -> ScimResponse:
    return ScimResponse(HTTPStatus(status), Error(status=status, detail=detail).model_dump())


async def _send(response: ScimResponse, send: Send, request_id: str) -> None:
    content = b"" if response.body is None else msgspec.json.encode(response.body)
    fields = response.headers.items()
    headers = [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in fields]
    own = [
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        (b"request-id", request_id.encode()),
    ]
    await send_whole(send, int(response.status), [*headers, *own], content)
