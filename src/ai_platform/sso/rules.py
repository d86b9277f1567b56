"""The rules that give people roles, team, region and tenant: each provider's own, then those of the shared file.

The file is read again when it changes; one that is not valid leaves the last valid rules in force, counted.
Above: signon. Below: documents.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ai_platform.documents import read
from ai_platform.documents.errors import Problem
from ai_platform.domain.errors import ConfigError
from ai_platform.identity.scopes import RoleBook
from ai_platform.sso.settings import GroupRule, IdentityProvider, SsoSettings


class SharedRule(GroupRule, frozen=True, kw_only=True):
    """A rule of the shared file. provider: only for who signs in there; "" = at any."""

    provider: str = ""


class MappingFile(msgspec.Struct, frozen=True):
    rules: tuple[SharedRule, ...] = ()


class Rules:
    """failures: reads that found the file not valid."""

    def __init__(self, settings: SsoSettings, roles: RoleBook) -> None:
        """Raises ConfigError: the file is not valid, or a rule names a role, provider or tenant that cannot be."""
        self._providers = {provider.name: provider for provider in settings.everyone}
        self._path = settings.mapping_file
        self._roles = roles
        self.failures = 0
        for provider in settings.everyone:
            for rule in provider.groups:
                if trouble := self._trouble(rule, (provider,)):
                    raise ConfigError(f"A rule of the provider '{provider.name}' in `sso` cannot hold: {trouble}")
        self._stamp = _stamp(self._path) if self._path else (0, 0)
        self._shared = self._read(self._path) if self._path else ()

    async def of(self, provider: IdentityProvider) -> tuple[GroupRule, ...]:
        """Those that hold at this provider now, in the order in which the first one counts."""
        if self._path is not None:
            await asyncio.to_thread(self._refresh, self._path)
        return (*provider.groups, *(rule for rule in self._shared if rule.provider in {"", provider.name}))

    async def give(self, group: str, tenant: str) -> bool:
        """Whether one of them gives something to members of this group, at any provider of the tenant."""
        for provider in self._providers.values():
            if provider.tenant in {"", tenant} and any(rule.group == group for rule in await self.of(provider)):
                return True
        return False

    def _refresh(self, path: Path) -> None:
        try:
            stamp = _stamp(path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._shared = self._read(path)
        except ConfigError:
            self.failures += 1

    def _read(self, path: Path) -> tuple[SharedRule, ...]:
        document = read(path, MappingFile)
        problems: list[Problem] = []
        for index, rule in enumerate(document.value.rules):
            if rule.provider and rule.provider not in self._providers:
                known = ", ".join(sorted(self._providers))
                sentence = f"There is no provider '{rule.provider[:40]}'. Known: {known}."
                problems.append(document.problem(sentence, "rules", index, "provider"))
                continue
            at = [self._providers[rule.provider]] if rule.provider else list(self._providers.values())
            if trouble := self._trouble(rule, at):
                problems.append(document.problem(trouble, "rules", index))
        if problems:
            raise document.errors(problems)
        return document.value.rules

    def _trouble(self, rule: GroupRule, providers: Iterable[IdentityProvider]) -> str:
        known = self._roles.role_names()
        for role in rule.roles:
            if role not in known:
                names = ", ".join(sorted(known))
                return f"The {rule.text} gives the role '{role}', which does not exist. Known: {names}."
        for provider in providers:
            if rule.tenant and provider.tenant and rule.tenant != provider.tenant:
                return (
                    f"The {rule.text} leads to the tenant '{rule.tenant}', but everybody who signs in at"
                    f" '{provider.name}' belongs to '{provider.tenant}'."
                )
        return ""


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"It cannot be read: {error.strerror}.", where=str(path)) from error
    return found.st_mtime_ns, found.st_size
