"""What a provider says about a person -> what they are here: roles, team, region, tenant. Default deny.

One way for both protocols: claims of an OpenID provider and attributes of a SAML one come in as `Said`.
Above: signon. Below: claims, settings.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.sso.claims import claim_at
from ai_platform.sso.settings import AttributeNames, ClaimNames, GroupRule, IdentityProvider

MOST_GROUPS = 2000
MOST_SHOWN = 10


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's words about a person, whatever the protocol.

    subject: its own identifier of them, which never becomes another person's. vouched: whether the address is theirs
    for certain. values: every claim or attribute, for rules that name one.
    """

    subject: str
    email: str | None
    vouched: bool
    name: str | None
    groups: frozenset[str]
    team: str | None
    region: str | None
    tenant: str | None
    values: Mapping[str, Any]


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who signed in and may be here. groups: those that the configuration names. tenant: None = default.

    sid: the provider's name of this sign-in. until: when it ends at the latest, epoch seconds, where the provider says.
    """

    provider: str
    subject: str
    name: str
    email: str | None = None
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    team: str | None = None
    region: str | None = None
    tenant: str | None = None
    sid: str | None = None
    until: float | None = None


def said_by_claims(claims: Mapping[str, Any], names: ClaimNames) -> Said:
    """claims: verified, with `sub`."""
    return Said(
        subject=str(claims["sub"]),
        email=_text(claim_at(claims, names.email)),
        vouched=not names.email_verified or claim_at(claims, names.email_verified) in (True, "true"),
        name=_text(claim_at(claims, names.name)),
        groups=_texts(claim_at(claims, names.groups)),
        team=_text(claim_at(claims, names.team)),
        region=_text(claim_at(claims, names.region)),
        tenant=_text(claim_at(claims, names.tenant)),
        values=claims,
    )


def said_by_attributes(subject: str, attributes: Mapping[str, list[str]], names: AttributeNames) -> Said:
    """subject: what names the person for good. attributes: verified, each with its values."""

    def first(wanted: Sequence[str]) -> str | None:
        return next((text for name in wanted for value in attributes.get(name, ()) if (text := _text(value))), None)

    listed = next((attributes[name] for name in names.groups if name in attributes), [])
    return Said(
        subject=subject,
        email=first(names.email) or (subject if "@" in subject else None),
        vouched=True,
        name=first(names.name),
        groups=_texts(listed),
        team=first(names.team),
        region=first(names.region),
        tenant=first(names.tenant),
        values=attributes,
    )


def person_of(
    said: Said, provider: IdentityProvider, rules: Sequence[GroupRule], *, contact: str, named: Iterable[str] = ()
) -> Person:
    """rules: those that hold at this provider. named: groups that other settings ask for, kept beside those of rules.

    Raises:
        Denied: the address, its domain or the groups do not let them in; the message says whom to ask.

    """
    email = _email(said, provider, contact)
    fitting = fitting_rules(said, rules)
    roles = tuple(dict.fromkeys(role for rule in fitting for role in rule.roles))
    who = email or said.email or said.subject
    if not roles:
        shown = ", ".join(sorted(said.groups)[:MOST_SHOWN])
        more = f" and {len(said.groups) - MOST_SHOWN} more" if len(said.groups) > MOST_SHOWN else ""
        has = f"none of its groups ({shown}{more})" if said.groups else "it is in no group that"
        message = f"You are signed in at the identity provider as {who}, but {has} gives access here. {contact}"
        raise Denied(Refusal.PERMISSION_MISSING, message, rule="sso.providers.groups")
    kept = {rule.group for rule in fitting} | set(named)
    return Person(
        provider=provider.name,
        subject=said.subject,
        name=(said.name or who)[:100],
        email=email,
        groups=tuple(group for group in sorted(said.groups) if group in kept),
        roles=roles,
        team=said.team or _first(fitting, "team"),
        region=said.region or _first(fitting, "region"),
        tenant=provider.tenant or said.tenant or _first(fitting, "tenant"),
    )


def fitting_rules(said: Said, rules: Iterable[GroupRule]) -> list[GroupRule]:
    return [rule for rule in rules if _fits(rule, said)]


def _fits(rule: GroupRule, said: Said) -> bool:
    if rule.group:
        return rule.group == "*" or rule.group in said.groups
    found = _texts(claim_at(said.values, rule.attribute))
    return bool(found) if rule.value == "*" else rule.value in found


def _email(said: Said, provider: IdentityProvider, contact: str) -> str | None:
    """The address in lower case, when the provider vouches for it."""
    email = (said.email or "").lower()
    # An address without quotes holds no colon (RFC 5321, 4.1.2); what holds one is another kind of principal's handle.
    is_address = email.count("@") == 1 and ":" not in email and len(email.split()) == 1 and len(email) <= 254
    usable = is_address and said.vouched
    if not provider.domains:
        return email if usable else None
    if not usable:
        why = "has no e-mail address" if not email else "has an e-mail address that the provider has not verified"
        message = f"Your account at the identity provider {why}, and this platform needs one. {contact}"
        raise Denied(Refusal.PERMISSION_MISSING, message, rule="sso.providers.email_domains")
    domain = email.rpartition("@")[2]
    if domain not in provider.domains:
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
