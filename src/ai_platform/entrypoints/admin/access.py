"""Who granted or denies it: each credential of a person, its roles, where they come from, and what the policy says.

It explains what may be done with the credentials there are now. Rules with conditions are asked as far as they can be
before there is a call; of the others it says what they depend on. Limits of a single call are not asked.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from ai_platform.directory import People
from ai_platform.domain.call import Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import ALIASES, Offer, Permission, grants
from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.identity import Keys
from ai_platform.identity.key import principal_of
from ai_platform.identity.scopes import reach_of
from ai_platform.policy import PolicyStore
from ai_platform.policy.outlook import RuleOutlook
from ai_platform.policy.schema import Effect
from ai_platform.sso import SignOn
from ai_platform.sso.people import Account

MODEL = "model:"
TOOL = "tool:"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One credential. roles: each with what gives it and whether it grants the action. why: a sentence.

    rules: of the policy, with conditions, that hold or may hold; empty when the action is no call.
    """

    credential: str
    allowed: bool
    roles: list[dict[str, Any]]
    why: str
    rules: list[RuleOutlook]


def endpoints(people: People, keys: Keys, policies: PolicyStore, signon: SignOn | None) -> list[Endpoint]:
    """The route /admin/access/explain, within the caller's tenant."""
    return [
        Endpoint("GET", "/admin/access/explain", Permission.PEOPLE_READ, Access(people, keys, policies, signon).explain)
    ]


class Access:
    def __init__(self, people: People, keys: Keys, policies: PolicyStore, signon: SignOn | None) -> None:
        self._people = people
        self._keys = keys
        self._policies = policies
        self._signon = signon

    async def explain(self, request: AdminRequest) -> dict[str, Any]:
        """Query: `person` (id, e-mail address or name), `action` (a permission, a short name, `model:NAME` or
        `tool:SERVER/NAME`).
        """
        action = request.params.get("action", "")
        needed = _needed(action)
        tenant = request.principal.tenant
        person = await self._people.get(request.params.get("person", ""), tenant=tenant)
        found = [
            self._finding(
                f"key {key.name}",
                principal_of(key, reach_of(key.roles, key.scopes, self._policies)),
                dict.fromkeys(key.roles, "the key"),
                action,
                needed,
                narrowed=bool(key.scopes),
            )
            for key in await self._keys.list(tenant=tenant)
            if key.principal_id == person.id
        ]
        for account in await self._accounts(person.id, tenant):
            sources = await self._sources(account)
            found.append(
                self._finding(
                    f"sign-in at {account.provider}", account.principal(self._policies), sources, action, needed
                )
            )
        return {
            "person": person.email or person.name,
            "state": person.state,
            "action": action,
            "allowed": any(one.allowed for one in found),
            "credentials": found,
        }

    def _finding(
        self,
        credential: str,
        caller: Principal,
        sources: dict[str, str],
        action: str,
        needed: frozenset[str],
        *,
        narrowed: bool = False,
    ) -> Finding:
        roles = [
            {"role": role, "from": source, "grants": _covers(self._policies.permissions([role]), needed)}
            for role, source in sources.items()
        ]
        granted = _covers(caller.permissions, needed)
        rules = self._outlook(caller, action, needed)
        refusing = next((one for one in rules if one.effect is Effect.DENY and one.state == "holds"), None)
        allowing = next((one for one in rules if one.effect is Effect.ALLOW and one.state == "holds"), None)
        if not granted and allowing is None:
            granting = [one["role"] for one in roles if one["grants"]]
            if granting and narrowed:
                why = f"The role {granting[0]} grants it, but the scopes of the key do not."
            else:
                why = f"None of its roles grants {' and '.join(sorted(needed))}."
        elif refusing is not None:
            granted, why = False, f"The rule '{refusing.rule}' of the policy refuses it: {refusing.when}."
        elif not self._is_open(caller, action):
            granted, why = False, f"Its roles allow it, but the policy or the key's scopes do not allow {action}."
        elif not granted and allowing is not None:
            granted, why = True, f"The rule '{allowing.rule}' of the policy allows it: {allowing.when}."
        else:
            giver = next((one for one in roles if one["grants"]), None)
            why = (
                f"The role {giver['role']} grants it, given by {giver['from']}." if giver else "Its roles together do."
            )
        return Finding(credential=credential, allowed=granted, roles=roles, why=why, rules=rules)

    def _outlook(self, caller: Principal, action: str, needed: frozenset[str]) -> list[RuleOutlook]:
        policy = self._policies.current
        if action.startswith(TOOL):
            server, _, tool = action.removeprefix(TOOL).partition("/")
            return policy.outlook_of_tool(caller, server, tool)
        if Permission.CLAUDE_INVOKE.value in needed:
            return policy.outlook_of_model(caller, action.removeprefix(MODEL) if action.startswith(MODEL) else "")
        return []

    def _is_open(self, caller: Principal, action: str) -> bool:
        """Lists of names, the key's scopes and the rules that can be decided now."""
        if action.startswith(TOOL):
            server, _, tool = action.removeprefix(TOOL).partition("/")
            return self._policies.current.may_reach(caller, Operation.TOOLS_CALL, server, tool)
        return not action.startswith(MODEL) or self._policies.current.may_use(caller, action.removeprefix(MODEL))

    async def _accounts(self, principal: str, tenant: str) -> list[Account]:
        """Of sign-ins that go on, one for each provider: the newest."""
        if self._signon is None:
            return []
        rows = [
            *await self._signon.sessions.open_of(principal, tenant=tenant),
            *await self._signon.grants.open_of(principal, tenant=tenant),
        ]
        rows.sort(key=lambda row: row["created_at"])
        accounts = [msgspec.convert(row["account"], Account) for row in rows]
        return list({account.provider: account for account in accounts}.values())

    async def _sources(self, account: Account) -> dict[str, str]:
        """What gave each role, by the rules as they are now."""
        provider = next((one for one in self._rules_at() if one.name == account.provider), None)
        rules = await self._signon.rules.of(provider) if self._signon and provider else ()
        sources: dict[str, str] = {}
        for role in account.roles:
            fitting = [
                rule.text
                for rule in rules
                if role in rule.roles and (rule.attribute or rule.group == "*" or rule.group in account.groups)
            ]
            sources[role] = fitting[0] if fitting else "the sign-in, by a rule that is gone"
        return sources

    def _rules_at(self) -> Iterable[Any]:
        return self._signon.settings.everyone if self._signon else ()


def _needed(action: str) -> frozenset[str]:
    """Raises InvalidCall: there is no such action."""
    if action.startswith(MODEL) and len(action) > len(MODEL):
        return frozenset({Permission.CLAUDE_INVOKE.value})
    server, found, tool = action.removeprefix(TOOL).partition("/")
    if action.startswith(TOOL) and found and server and tool:
        return frozenset({Offer.TOOL.permission(server, tool)})
    if action in ALIASES:
        return frozenset(str(one) for one in ALIASES[action])
    if action in {one.value for one in Permission}:
        return frozenset({action})
    message = (
        f"There is no action '{action[:60]}'. Name a permission (claude:messages:create), a short name (read_code),"
        " model:NAME or tool:SERVER/NAME."
    )
    raise InvalidCall(Refusal.INVALID_REQUEST, message)


def _covers(granted: frozenset[str], needed: frozenset[str]) -> bool:
    return all(grants(granted, one) for one in needed)
