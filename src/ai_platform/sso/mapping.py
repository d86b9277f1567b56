"""What a provider says about a person -> what they are here: roles, team, region. Default deny.

Above: signon. Below: settings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.sso.claims import claim_at
from ai_platform.sso.settings import GroupRule, ProviderSettings

MOST_GROUPS = 2000


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who signed in and may be here. groups: those that the configuration names."""

    provider: str
    subject: str
    name: str
    email: str | None = None
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    team: str | None = None
    region: str | None = None


def person_of(
    claims: Mapping[str, Any], settings: ProviderSettings, *, contact: str, named: Iterable[str] = ()
) -> Person:
    """named: groups that other settings ask for, kept beside those that give a role.

    Raises:
        Denied: the address, its domain or the groups do not let them in; the message says whom to ask.

    """
    names = settings.claims
    email = _email(claims, settings, contact)
    groups = _texts(claim_at(claims, names.groups))
    rules = [rule for rule in settings.groups if rule.group == "*" or rule.group in groups]
    roles = tuple(dict.fromkeys(role for rule in rules for role in rule.roles))
    who = email or str(claims["sub"])
    if not roles:
        has = f"none of its groups ({', '.join(sorted(groups)[:10])})" if groups else "it is in no group that"
        message = f"You are signed in at the identity provider as {who}, but {has} gives access here. {contact}"
        raise Denied(Refusal.PERMISSION_MISSING, message, rule="sso.providers.groups")
    kept = {rule.group for rule in rules} | set(named)
    return Person(
        provider=settings.name,
        subject=str(claims["sub"]),
        name=(_text(claim_at(claims, names.name)) or who)[:100],
        email=email,
        groups=tuple(group for group in sorted(groups) if group in kept),
        roles=roles,
        team=_text(claim_at(claims, names.team)) or _first(rules, "team"),
        region=_text(claim_at(claims, names.region)) or _first(rules, "region"),
    )


def _email(claims: Mapping[str, Any], settings: ProviderSettings, contact: str) -> str | None:
    """The address in lower case, when the provider vouches for it."""
    names = settings.claims
    email = (_text(claim_at(claims, names.email)) or "").lower()
    vouched = not names.email_verified or claim_at(claims, names.email_verified) in (True, "true")
    usable = email.count("@") == 1 and vouched and not any(letter.isspace() for letter in email) and len(email) <= 254
    if not settings.email_domains:
        return email if usable else None
    if not usable:
        why = "has no e-mail address" if not email else "has an e-mail address that the provider has not verified"
        message = f"Your account at the identity provider {why}, and this platform needs one. {contact}"
        raise Denied(Refusal.PERMISSION_MISSING, message, rule="sso.providers.email_domains")
    domain = email.rpartition("@")[2]
    if domain not in {allowed.lower().lstrip("@") for allowed in settings.email_domains}:
        message = f"Addresses of {domain} may not sign in here. {contact}"
        raise Denied(Refusal.PERMISSION_MISSING, message, rule="sso.providers.email_domains")
    return email


def _text(value: Any) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text[:254] if text and text.isprintable() else None


def _texts(value: Any) -> frozenset[str]:
    listed = value if isinstance(value, list) else [value]
    return frozenset(text for each in listed[:MOST_GROUPS] if (text := _text(each)))


def _first(rules: list[GroupRule], field: str) -> str | None:
    return next((value for rule in rules if (value := getattr(rule, field))), None)
