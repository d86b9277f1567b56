"""Which models a caller may use: deny always wins; of the allow lists, the most specific one decides.

Order: the person's, else the team's, else those of the caller's roles together, else everybody's. No allow list at
all = every model. The credential's own globs (a key's scope) come on top. Above: policy.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from ai_platform.domain.principal import Principal
from ai_platform.policy.globs import LONGEST_NAME, Globs, plain_model
from ai_platform.policy.schema import ModelRule, ModelSection


class Verdict(msgspec.Struct, frozen=True):
    """rule: the key of the policy file (or the key's scope) that decided. allowed: what may be used instead."""

    permitted: bool
    rule: str
    allowed: str = ""


class _List(msgspec.Struct, frozen=True):
    rule: str
    globs: Globs


class ModelAccess:
    def __init__(self, section: ModelSection) -> None:
        self._everyone = _allow("models", section)
        self._allow_users = _allows("models.users", {name.lower(): rule for name, rule in section.users.items()})
        self._allow_teams = _allows("models.teams", section.teams)
        self._allow_roles = _allows("models.roles", section.roles)
        self._deny_everyone = _deny("models", section)
        self._deny_users = _denies("models.users", {name.lower(): rule for name, rule in section.users.items()})
        self._deny_teams = _denies("models.teams", section.teams)
        self._deny_roles = _denies("models.roles", section.roles)
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

    def judge(self, principal: Principal, model: str | None) -> Verdict:
        """Whether the caller may use the model. None (the call names none) passes only where nothing is restricted."""
        if not self.restricts and not principal.models:
            return _UNRESTRICTED
        if model is None or len(model) > LONGEST_NAME:
            return Verdict(False, "models")
        plain = plain_model(model)
        if principal.models and not (scope := _key_scope(principal.models)).match(plain):
            return Verdict(False, "key scope", str(scope))
        if not self.restricts:
            return Verdict(True, "key scope")
        people = _names(principal) if self._allow_users or self._deny_users else ()
        if denied := self._denied(principal, people, plain):
            return Verdict(False, denied.rule)
        deciding = self._deciding(principal, people)
        if not deciding:
            return Verdict(True, "models.deny")
        for each in deciding:
            if each.globs.match(plain):
                return Verdict(True, each.rule)
        return Verdict(False, deciding[0].rule, ", ".join(str(each.globs) for each in deciding))

    def _denied(self, principal: Principal, people: tuple[str, ...], plain: str) -> _List | None:
        lists = (
            self._deny_everyone,
            *(self._deny_roles.get(role) for role in principal.roles),
            self._deny_teams.get(principal.team or ""),
            *(self._deny_users.get(name) for name in people),
        )
        return next((each for each in lists if each is not None and each.globs.match(plain)), None)

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


_UNRESTRICTED = Verdict(True, "no model restriction")


@lru_cache(maxsize=4096)
def _key_scope(models: tuple[str, ...]) -> Globs:
    return Globs(models)


def _names(principal: Principal) -> tuple[str, ...]:
    """What `models.users` may call the caller: e-mail, id, or the name of a service account."""
    names = [principal.id.lower()]
    if principal.email:
        names.append(principal.email.lower())
    if principal.kind.value == "service":
        names.append(principal.name.lower())
    return tuple(names)


def _allow(name: str, rule: ModelRule) -> _List | None:
    return None if rule.allow is None else _List(f"{name}.allow", Globs(rule.allow))


def _deny(name: str, rule: ModelRule) -> _List | None:
    return _List(f"{name}.deny", Globs(rule.deny)) if rule.deny else None


def _allows(name: str, rules: Mapping[str, ModelRule]) -> dict[str, _List]:
    return {key: made for key, rule in rules.items() if (made := _allow(f"{name}.{key}", rule))}


def _denies(name: str, rules: Mapping[str, ModelRule]) -> dict[str, _List]:
    return {key: made for key, rule in rules.items() if (made := _deny(f"{name}.{key}", rule))}
