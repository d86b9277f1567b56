"""Roles: a name for a set of permissions, from roles.yaml. Nobody has a permission that no role of theirs lists.

Short names of the mission (`read_code`) stand for several permissions, see domain/permission.py.
Above: compile, store, identity (by a protocol of its own). Below: documents, domain.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ai_platform.documents import Document, read, suggest
from ai_platform.documents.errors import Problem
from ai_platform.domain.permission import ALIASES, EVERYTHING, Permission, is_by_name, with_implied
from ai_platform.policy.schema import RolesFile

BUILT_IN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "developer": ("read_code", "write_code", "create_branch", "create_pr"),
        "reviewer": ("read_code", "comment_pr", "approve_pr"),
        "admin": (EVERYTHING,),
        "security_auditor": ("read_code", "read_logs", "read_audit_trail"),
        "member": (
            Permission.CLAUDE_INVOKE,
            Permission.CLAUDE_MODELS,
            Permission.USAGE_READ_OWN,
            Permission.APPROVALS_USE,
        ),
    }
)
"""The mission's four, and `member` for people who use Claude but touch no code. A file adds to them or replaces one."""

_ROLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_KNOWN = frozenset({*(permission.value for permission in Permission), *ALIASES, EVERYTHING})


class Roles:
    """What each role may do. Immutable; `version` changes with the content.

    granted: role -> permissions, with short names written out.
    """

    def __init__(self, listed: Mapping[str, Iterable[str]], version: str = "built-in") -> None:
        self.listed = {name: tuple(permissions) for name, permissions in {**BUILT_IN, **listed}.items()}
        self.granted = {name: _expand(permissions) for name, permissions in self.listed.items()}
        self.version = version

    def permissions(self, roles: Iterable[str]) -> frozenset[str]:
        """Everything the roles allow together. A role that does not exist (any more) allows nothing."""
        return frozenset[str]().union(*(self.granted.get(role, frozenset()) for role in roles))

    def names(self) -> tuple[str, ...]:
        return tuple(self.granted)

    @staticmethod
    def load(source: Path | str, *, name: str = "", version: str = "") -> "Roles":
        """Read roles.yaml.

        Raises:
            ConfigError: with file, line, column and suggestion.

        """
        document = read(source, RolesFile, name=name)
        problems = [problem for role in document.value.roles for problem in _check(document, role)]
        if problems:
            raise document.errors(problems)
        listed = {role: _listed(entry.permissions) for role, entry in document.value.roles.items()}
        return Roles(listed, version or "file")


def _listed(permissions: tuple[str, ...] | str) -> tuple[str, ...]:
    return (permissions,) if isinstance(permissions, str) else permissions


def _check(document: Document[RolesFile], role: str) -> list[Problem]:
    problems: list[Problem] = []
    if not _ROLE_NAME.fullmatch(role):
        sentence = f"The role name '{role[:40]}' is not usable: a letter, then letters, digits, '_', '-' or '.'."
        problems.append(document.problem(sentence, "roles", role, key=True))
    permissions = document.value.roles[role].permissions
    for index, permission in enumerate(_listed(permissions)):
        if permission in _KNOWN or is_by_name(permission):
            continue
        near = suggest(permission, _KNOWN)
        names = f" Short names: {', '.join(sorted(ALIASES))}; or scope:resource:action, tools:SERVER/TOOL:call, or '*'."
        rest = "" if near else names
        path = ("roles", role, "permissions", *(() if isinstance(permissions, str) else (index,)))
        problems.append(document.problem(f"There is no permission '{permission[:60]}'.{rest}", *path, suggestion=near))
    return problems


def _expand(permissions: Iterable[str]) -> frozenset[str]:
    return frozenset[str]().union(*(ALIASES.get(name) or with_implied(name) for name in permissions))
