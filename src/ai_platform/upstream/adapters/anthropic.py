"""The Anthropic API and every server that speaks it: path, query, header fields and body go as they came."""

from collections.abc import Mapping

from ai_platform.domain.call import Answer, Call, Headers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.route import Target
from ai_platform.upstream.credential import Credential, read_secret
from ai_platform.upstream.headers import CREDENTIALS, IDENTITY, REQUEST_DROPPED, request_line, write_head
from ai_platform.upstream.mask import without
from ai_platform.upstream.settings import Auth, UpstreamSettings
from ai_platform.upstream.splice import with_model
from ai_platform.upstream.wire import Outgoing

_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})


class AnthropicAdapter:
    """Satisfies `Adapter`."""

    def __init__(
        self, settings: UpstreamSettings, environ: Mapping[str, str], *, via: bytes = b"", via_lines: bytes = b""
    ) -> None:
        where = f"upstream {settings.name!r}"
        address = settings.address()
        self._base = via + address.path.rstrip("/").encode()
        self._host = b"host: %b\r\n" % address.netloc.lower().encode()
        self._passthrough = settings.auth is Auth.PASSTHROUGH
        self._credential = Credential(settings.api_key_env, settings.api_key_file, environ, where=where)
        self._scheme = b"authorization: Bearer %b\r\n" if settings.auth is Auth.BEARER else b"x-api-key: %b\r\n"
        extra = dict(settings.headers)
        for name, variable in settings.headers_env.items():
            extra[name] = read_secret(variable, None, environ, where=where) or ""
        self._extra = IDENTITY + via_lines + b"".join(f"{name}: {value}\r\n".encode() for name, value in extra.items())
        dropped = REQUEST_DROPPED - CREDENTIALS if self._passthrough else REQUEST_DROPPED
        self._dropped = dropped | {name.encode() for name in extra}

    @property
    def credential_version(self) -> int:
        return self._credential.version

    def outgoing(self, call: Call, target: Target) -> Outgoing:
        body = self._body(call, target)
        secret = self._credential.secret
        own = self._extra if secret is None else self._extra + self._scheme % secret.encode()
        head = write_head(
            request_line(call.method, self._base, call.path, call.query) + self._host,
            self._fields(call),
            dropped=self._dropped,
            own=own,
            length=len(body) if body or call.method in _WITH_CONTENT else None,
        )
        return Outgoing(head, body, call.method == "HEAD")

    def incoming(self, answer: Answer) -> Answer:
        secret = self._credential.secret
        return answer if answer.status < 400 or not secret else without(answer, secret.encode())

    async def renew(self, used: int) -> bool:
        return await self._credential.renew(used)

    def _fields(self, call: Call) -> Headers:
        secret = call.credentials.secret
        if not self._passthrough or secret is None:
            return call.headers
        # The platform's own key recognised the caller; no upstream may ever see it. Fail closed on any mention.
        ours = secret.encode()
        return [field for field in call.headers if field[0] not in CREDENTIALS or ours not in field[1]]

    @staticmethod
    def _body(call: Call, target: Target) -> bytes:
        asked, wanted = call.head.model, target.model
        if asked is None or wanted is None or asked == wanted:
            return call.body
        try:
            body = with_model(call.body, wanted)
        except ValueError as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, f"the model {asked!r} cannot be replaced: {error}") from None
        if body is call.body:
            # Fail closed: the route says another model, so this body must not go out as it is.
            raise InvalidCall(Refusal.INVALID_REQUEST, f"the model {asked!r} is not where it should be in the body")
        return body
