"""What a provisioned user comes to here: a name, an address, a handle. Everything else is kept and means nothing.

Roles, entitlements and groups in the body of a user give no right: rights come from groups by the rules of sign-in.
Above: storage. Below: nothing.
"""

import re
from typing import Any

import msgspec
from scim2_models import InvalidValueException

_ADDRESS = re.compile(r"[^@:\s\x00-\x1f]{1,64}@[^@:\s\x00-\x1f]{1,190}")
"""Without a colon: what holds one is the handle of another kind of principal (`service:`, `break-glass:`)."""

LONGEST = 200


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """handle: what makes a principal the same one again, as keys and sign-in write it."""

    name: str
    email: str | None
    handle: str
    active: bool


def facts_of(user: Any) -> Facts:
    """Of a User. Raises InvalidValueException: userName is not usable."""
    user_name = checked("userName", user.user_name)
    email = _email(user) or (user_name.lower() if _ADDRESS.fullmatch(user_name) else None)
    return Facts(
        name=_name(user, user_name),
        email=email,
        handle=email or f"scim:{user_name.lower()}",
        active=user.active is not False,
    )


def checked(what: str, value: Any) -> str:
    """Text that can be stored and shown. Raises InvalidValueException."""
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > LONGEST or not text.isprintable():
        raise InvalidValueException(detail=f"{what} must be 1 to {LONGEST} printable characters.")
    return text


def _email(user: Any) -> str | None:
    """The primary address, else one for work, else the first."""
    entries = [entry for entry in user.emails or () if isinstance(entry.value, str)]
    entries.sort(key=lambda entry: (not entry.primary, str(entry.type or "").lower() != "work"))
    found = entries[0].value.strip().lower() if entries else ""
    return found if _ADDRESS.fullmatch(found) else None


def _name(user: Any, user_name: str) -> str:
    parts = user.name
    whole = " ".join(part for part in (parts.given_name, parts.family_name) if part) if parts else ""
    for candidate in (user.display_name, parts.formatted if parts else None, whole):
        text = candidate.strip()[:100] if isinstance(candidate, str) else ""
        if text and text.isprintable():
            return text
    return user_name[:100]
