"""What the doors read in a request's header fields: who calls from where, and what the body claims to be.

One pass over the fields. A field that could mean two things is refused, and so is a platform key in a place from where
it would travel on to the upstream. Above: messages, admin.
"""

import re

from ai_platform.domain.call import Client, Headers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.principal import Credentials
from ai_platform.domain.trace import usable_traceparent
from ai_platform.entrypoints.http import Scope
from ai_platform.identity.authenticator import TOKEN

KEY_PREFIX = "aip_"

_KEY = re.compile(rb"aip_[0-9A-Za-z]{48}")
_SINGLE = frozenset({b"authorization", b"x-api-key", b"content-type", b"content-encoding"})
_READ = _SINGLE | {
    b"user-agent",
    b"x-claude-code-session-id",
    b"x-claude-code-agent-id",
    b"x-claude-code-request-class",
    b"x-ai-platform-tenant",
    b"traceparent",
}
_JSON_TYPE = re.compile(
    rb"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;\s*charset\s*=\s*\"?(?:utf-?8|us-ascii)\"?\s*)?;?\s*", re.IGNORECASE
)


class Fields:
    """get: by lower-case name. repeated: a field that came twice with different values; the first counts. misplaced:
    another one that holds a platform key.
    """

    __slots__ = ("_values", "misplaced", "repeated")

    def __init__(self, headers: Headers) -> None:
        self._values = values = dict[bytes, bytes]()
        self.repeated = self.misplaced = b""
        for name, value in headers:
            if name in _READ and values.setdefault(name, value) != value and name in _SINGLE:
                self.repeated = name
            if name not in _SINGLE and b"aip_" in value and _KEY.search(value):
                self.misplaced = name

    def get(self, name: bytes) -> bytes:
        """The value; empty when the field is absent."""
        return self._values.get(name, b"")


def check_fields(fields: Fields) -> None:
    """Raises InvalidCall for a field that could mean two things, or would carry a platform key on."""
    if fields.repeated:
        raise _invalid(f"The header `{fields.repeated.decode()}` came twice with different values. Send it once.")
    if fields.misplaced:
        raise _misplaced(f"the header `{fields.misplaced.decode('latin-1')[:60]}`")


def check_target(scope: Scope, credentials: Credentials) -> None:
    """Raises InvalidCall for a platform key in the path or the query, where logs and the upstream would see it, and
    for a token of the caller's anywhere but in its place.
    """
    address = scope["raw_path"] + b"?" + scope["query_string"]
    if b"aip_" in address and _KEY.search(address):
        raise _misplaced("the address")
    if is_token(credentials):
        token = (credentials.secret or "").encode("latin-1")
        if token in address:
            raise _misplaced("the address")
        for name, value in scope["headers"]:
            if token in value and name not in _SINGLE:
                raise _misplaced(f"the header `{name.decode('latin-1')[:60]}`")


def as_json(headers: Headers, fields: Fields) -> Headers:
    """The fields for a body that was read as JSON in UTF-8: whoever reads it next must not be told otherwise."""
    if _JSON_TYPE.fullmatch(fields.get(b"content-type").strip()):
        return headers
    kept = [field for field in headers if field[0] != b"content-type"]
    return [*kept, (b"content-type", b"application/json")]


def check_coding(fields: Fields) -> None:
    """Raises InvalidCall for a compressed body: it could not be inspected, so it is not passed on."""
    coding = fields.get(b"content-encoding")
    if coding.strip().lower() not in {b"identity", b""}:
        raise _invalid(
            f"The body is compressed (`content-encoding: {coding.decode('latin-1')[:40]}`). This gateway inspects what"
            " it passes on: send the body uncompressed, without that header."
        )


def credentials_of(fields: Fields) -> Credentials:
    """The platform key among the two places clients put one; Claude Code may fill both with different values."""
    authorization = fields.get(b"authorization")
    bearer = authorization[7:].strip().decode("latin-1") if authorization[:7].lower() == b"bearer " else ""
    api_key = fields.get(b"x-api-key").strip().decode("latin-1")
    if api_key and (not bearer or (api_key.startswith(KEY_PREFIX) and not bearer.startswith(KEY_PREFIX))):
        return Credentials(api_key, "x-api-key")
    return Credentials(bearer or None, "authorization" if bearer else "")


def is_token(credentials: Credentials) -> bool:
    """Of somebody who signed in, unlike a platform key."""
    return credentials.secret is not None and credentials.secret.startswith(TOKEN)


def client_of(scope: Scope, fields: Fields) -> Client:
    address = scope.get("client")
    return Client(
        ip=address[0] if address else "",
        user_agent=fields.get(b"user-agent").decode("latin-1"),
        session_id=_short(fields, b"x-claude-code-session-id", 64),
        agent_id=_short(fields, b"x-claude-code-agent-id", 64),
        request_class=_short(fields, b"x-claude-code-request-class", 32),
        traceparent=usable_traceparent(fields.get(b"traceparent").decode("latin-1")),
    )


def _short(fields: Fields, name: bytes, most: int) -> str | None:
    value = fields.get(name)
    return value.decode("latin-1")[:most] if value else None


def _misplaced(place: str) -> InvalidCall:
    return _invalid(
        f"A credential of the platform stands in {place}, from where it would reach the upstream and logs. Send it as"
        " `Authorization: Bearer` or `x-api-key` only, and replace it: it may have been seen."
    )


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, message)
