"""Allow and deny lists of names, for everybody, for roles, teams and persons: deny always wins; of the allow lists,
the most specific one decides.

Order: the person's, else the team's, else those of the caller's roles together, else everybody's. No allow list at
all = every name. Above: models, tools. Below: globs.
"""

from collections.abc import Mapping

import msgspec

from ai_platform.domain.principal import Principal
from ai_platform.policy.globs import Globs
from ai_platform.policy.schema import AccessRule, AccessSection


class Verdict(msgspec.Struct, frozen=True):
    """rule: the key of the policy file (or the key's scope) that decided. allowed: what may be used instead.

    final: a deny list or the key's scope decided, which no rule of the policy overrides.
    """

    permitted: bool
    rule: str
    allowed: str = ""
    final: bool = False


class _List(msgspec.Struct, frozen=True):
    rule: str
    globs: Globs


class AccessLists:
    """label: the section's key in the policy file, such as `models`."""

    def __init__(self, label: str, section: AccessSection) -> None:
        self._nothing_denied = Verdict(True, f"{label}.deny")
        users = {name.lower(): rule for name, rule in section.users.items()}
        self._everyone = _allow(label, section)
        self._allow_users = _allows(f"{label}.users", users)
        self._allow_teams = _allows(f"{label}.teams", section.teams)
        self._allow_roles = _allows(f"{label}.roles", section.roles)
        self._deny_everyone = _deny(label, section)
        self._deny_users = _denies(f"{label}.users", users)
        self._deny_teams = _denies(f"{label}.teams", section.teams)
        self._deny_roles = _denies(f"{label}.roles", section.roles)
        self.restricts = bool(
            self._everyone
            or self._deny_everyone
            or self._allow_users
            or self._allow_teams
            or self._allow_roles
            or self._deny_users
            or self._deny_teams
            or self._deny_roles
        )

    def judge(self, principal: Principal, name: str) -> Verdict:
        """Whether the lists let the caller use what is called so."""
        people = names_of(principal) if self._allow_users or self._deny_users else ()
        if denied := self._denied(principal, people, name):
            return Verdict(False, denied.rule, final=True)
        deciding = self._deciding(principal, people)
        if not deciding:
            return self._nothing_denied
        for each in deciding:
            if each.globs.match(name):
                return Verdict(True, each.rule)
        return Verdict(False, deciding[0].rule, ", ".join(str(each.globs) for each in deciding))

    def _denied(self, principal: Principal, people: tuple[str, ...], name: str) -> _List | None:
        lists = (
            self._deny_everyone,
            *(self._deny_roles.get(role) for role in principal.roles),
            self._deny_teams.get(principal.team or ""),
            *(self._deny_users.get(person) for person in people),
        )
        return next((each for each in lists if each is not None and each.globs.match(name)), None)

    def _deciding(self, principal: Principal, people: tuple[str, ...]) -> list[_List]:
        if people and (own := [self._allow_users[name] for name in people if name in self._allow_users]):
            return own
        if team := self._allow_teams.get(principal.team or ""):
            return [team]
        return self._by_roles(principal.roles)

    def _by_roles(self, roles: tuple[str, ...]) -> list[_List]:
        """Roles add up: each brings its own list, or everybody's when it has none; one without any list opens all."""
        if not any(role in self._allow_roles for role in roles):
            return [self._everyone] if self._everyone else []
        lists = [self._allow_roles.get(role, self._everyone) for role in roles]
        return [] if None in lists else [each for each in dict.fromkeys(lists) if each]


def names_of(principal: Principal) -> tuple[str, ...]:
    """What a policy may call the caller: id, e-mail, or the name of a service account; in lower case."""
    names = [principal.id.lower()]
    if principal.email:
        names.append(principal.email.lower())
    if principal.kind.value == "service":
        names.append(principal.name.lower())
    return tuple(names)


def _allow(name: str, rule: AccessRule) -> _List | None:
    return None if rule.allow is None else _List(f"{name}.allow", Globs(rule.allow))


def _deny(name: str, rule: AccessRule) -> _List | None:
    return _List(f"{name}.deny", Globs(rule.deny)) if rule.deny else None


def _allows(name: str, rules: Mapping[str, AccessRule]) -> dict[str, _List]:
    return {key: made for key, rule in rules.items() if (made := _allow(f"{name}.{key}", rule))}


def _denies(name: str, rules: Mapping[str, AccessRule]) -> dict[str, _List]:
    return {key: made for key, rule in rules.items() if (made := _deny(f"{name}.{key}", rule))}
