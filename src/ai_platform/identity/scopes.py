"""Scopes: what narrows a key below its roles. A key without scopes may do all that its roles allow.

A scope is a permission (`claude:messages:create`, `tools:kb/*:call`), a short name (`read_code`), a role, `model:GLOB`
or `tool:GLOB`. Permissions of several scopes add up and are then cut down to what the roles allow.
"""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from ai_platform.documents import suggest
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import ALIASES, EVERYTHING, Permission, grants, is_by_name, with_implied

_PERMISSIONS = frozenset(permission.value for permission in Permission)


class RoleBook(Protocol):
    """What identity needs of the policy: which roles there are and what each allows now."""

    @property
    def version(self) -> str:
        """Another value whenever any answer may have changed."""
        ...

    def permissions(self, roles: Iterable[str]) -> frozenset[str]: ...

    def role_names(self) -> tuple[str, ...]: ...


class Reach(msgspec.Struct, frozen=True):
    """What a key may do: permissions, and globs of models and tools (empty = any). narrowed: less than its roles."""

    permissions: frozenset[str]
    models: tuple[str, ...]
    tools: tuple[str, ...]
    narrowed: bool = False


def reach_of(roles: Iterable[str], scopes: Iterable[str], book: RoleBook) -> Reach:
    """Roles and scopes as they stand in the key, with the meaning the policy gives them now.

    A scope that means nothing (any more) grants nothing, but still narrows.
    """
    granted = book.permissions(roles)
    models: list[str] = []
    tools: list[str] = []
    narrowed: frozenset[str] = frozenset()
    narrows = False
    for scope in scopes:
        if scope.startswith("model:"):
            models.append(scope.removeprefix("model:"))
        elif scope.startswith("tool:"):
            tools.append(scope.removeprefix("tool:"))
        else:
            narrows = True
            narrowed |= _meaning(scope, book)
    return Reach(_cut(granted, narrowed) if narrows else granted, tuple(models), tuple(tools), narrows)


def check_names(roles: Iterable[str], scopes: Iterable[str], book: RoleBook) -> None:
    """Raises InvalidCall for a role or scope that does not exist, with the name that was probably meant."""
    known = book.role_names()
    for role in roles:
        if role not in known:
            raise _unknown("role", role, known)
    for scope in scopes:
        kind, _, glob = scope.partition(":")
        if kind in {"model", "tool"} and glob:
            continue
        names = scope in _PERMISSIONS or scope in ALIASES or scope in known or scope == EVERYTHING
        if not names and not is_by_name(scope):
            raise _unknown("scope", scope, (*_PERMISSIONS, *ALIASES, *known))


def exceeds(wanted: Reach, own: Reach) -> str:
    """What `wanted` has and `own` has not, in words; empty when it is within."""
    if more := [each for each in wanted.permissions if not grants(own.permissions, each)]:
        return f"the permission {min(more)}"
    for what, mine, theirs in (("models", own.models, wanted.models), ("tools", own.tools, wanted.tools)):
        if mine and not (theirs and set(theirs) <= set(mine)):
            return f"{what} other than {', '.join(mine)}"
    return ""


def _meaning(scope: str, book: RoleBook) -> frozenset[str]:
    if scope in _PERMISSIONS or scope == EVERYTHING or is_by_name(scope):
        return with_implied(scope)
    return ALIASES.get(scope) or book.permissions([scope])


def _cut(granted: frozenset[str], narrowed: frozenset[str]) -> frozenset[str]:
    """What both allow. Of two patterns of which neither covers the other nothing is left (fails closed)."""
    within = {each for each in narrowed if grants(granted, each)}
    return frozenset(within | {each for each in granted if grants(narrowed, each)})


def _unknown(what: str, name: str, known: Iterable[str]) -> InvalidCall:
    names = sorted(set(known))
    near = suggest(name, names)
    hint = f"Did you mean '{near}'?" if near else f"Known: {', '.join(names)}."
    if what == "scope" and not near:
        hint = f"{hint[:-1]}; or model:GLOB, tool:GLOB."
    return InvalidCall(Refusal.INVALID_REQUEST, f"There is no {what} '{name[:60]}'. {hint}")
