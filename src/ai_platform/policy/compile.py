"""Policy file -> the parts of a Policy, or every mistake in it at once. Above: policy. Below: the part modules."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ai_platform.documents import Document, read
from ai_platform.documents.errors import Problem
from ai_platform.domain.decision import Limits
from ai_platform.domain.finding import ProtectionPlan
from ai_platform.policy.conditions import Rules, rules_of
from ai_platform.policy.filters import ContentFilters, Filter
from ai_platform.policy.gates import Gates, gates_of, named_problem
from ai_platform.policy.limits import HIGHEST_USD, limits_of, team_limits
from ai_platform.policy.models import ModelAccess
from ai_platform.policy.notices import Line, unenforced
from ai_platform.policy.patterns import BadPattern, Expression, check_pattern
from ai_platform.policy.plan import Catalogue, plan_of
from ai_platform.policy.roles import Roles
from ai_platform.policy.schema import PolicyFile, UsageLimits
from ai_platform.policy.tools import ToolAccess

DEFAULT_CONTACT = "Ask an administrator of this platform."
MOST_FILTERS = 100


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a Policy is made of. sha256: of the policy file's bytes, then the roles file's."""

    name: str
    version: str
    sha256: str
    file: PolicyFile
    roles: Roles
    models: ModelAccess
    tools: ToolAccess
    filters: ContentFilters
    rules: Rules
    gates: Gates
    limits: Limits
    team_limits: dict[str, Limits]
    plan: ProtectionPlan
    contact: str
    notices: tuple[Line, ...]


def compile_policy(
    text: str,
    *,
    name: str = "",
    folder: Path | None = None,
    roles: Roles | None = None,
    catalogue: Catalogue | None = None,
) -> Parts:
    """Validate and compile a policy file's text.

    folder: where roles_file is looked for. None = no other file is read (the text came from a caller, who must not
    choose what the platform opens) and `roles`, else the built-in ones, are taken instead.

    Raises:
        ConfigError: file, line, column, what is wrong and what was probably meant; all mistakes in `problems`.

    """
    document = read(text, PolicyFile, name=name)
    value = document.value
    roles, roles_bytes = (roles or Roles({}), b"") if folder is None else _roles(document, folder)
    digest = hashlib.sha256(text.encode("utf-8", "replace") + roles_bytes).hexdigest()
    version = f"{value.version or 'unnamed'}+{digest[:12]}"
    catalogue = catalogue or Catalogue()
    plan, problems = plan_of(document, version, catalogue)
    rules, mistakes = rules_of(document, catalogue)
    gates, more = gates_of(document, catalogue)
    problems += [*mistakes, *more]
    problems += [*_filter_problems(document), *_limit_problems(document), *_policy_problems(document)]
    problems += [*_access_problems(document, roles)]
    if problems:
        raise document.errors(problems)
    limits = limits_of(value.usage_limits)
    contact = value.contact.strip() or DEFAULT_CONTACT
    return Parts(
        name=document.name,
        version=version,
        sha256=digest,
        file=value,
        roles=roles,
        models=ModelAccess(value.models),
        tools=ToolAccess(value.tools),
        filters=_content_filters(document, contact),
        rules=rules,
        gates=gates,
        limits=limits,
        team_limits=team_limits(value.teams, limits),
        plan=plan,
        contact=contact,
        notices=unenforced(document),
    )


def roles_path(value: PolicyFile, folder: Path) -> Path | None:
    """The roles file this policy names, relative to its own folder."""
    named = value.security.access_control.authorization.roles_file
    return None if named is None else folder / named


def _roles(document: Document[PolicyFile], folder: Path) -> tuple[Roles, bytes]:
    path = roles_path(document.value, folder)
    if path is None:
        return Roles({}), b""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise document.error(
            f"The roles file {path} cannot be read ({error.strerror}). Create it, or remove this key to use the"
            " built-in roles.",
            *("security", "access_control", "authorization", "roles_file"),
        ) from error
    version = hashlib.sha256(data).hexdigest()[:12]
    return Roles.load(path, version=version), data


def _filters(value: PolicyFile) -> list[Filter]:
    return [
        Filter(
            rule=written.name or f"content_filters.block_patterns[{index}]",
            scope=written.scope,
            message=written.message.strip().rstrip("."),
            expression=Expression(written.pattern, written.whole_words, written.case_sensitive),
        )
        for index, written in enumerate(value.content_filters.block_patterns)
    ]


def _content_filters(document: Document[PolicyFile], contact: str) -> ContentFilters:
    try:
        return ContentFilters(_filters(document.value), contact)
    except BadPattern as error:  # each compiles alone, but not all of one scope together
        sentence = f"These patterns cannot be used together: {error}."
        raise document.error(sentence, "content_filters", "block_patterns", key=True) from error


def _filter_problems(document: Document[PolicyFile]) -> Iterator[Problem]:
    path = ("content_filters", "block_patterns")
    filters = _filters(document.value)
    if len(filters) > MOST_FILTERS:
        yield document.problem(f"There are {len(filters)} patterns; at most {MOST_FILTERS} are allowed.", *path)
        return
    for index, each in enumerate(filters):
        try:
            check_pattern(each.expression)
        except BadPattern as error:
            yield document.problem(f"The pattern cannot be used: {error}.", *path, index, "pattern")


def _limit_problems(document: Document[PolicyFile]) -> Iterator[Problem]:
    sections: list[tuple[tuple[str, ...], UsageLimits]] = [((), document.value.usage_limits)]
    sections += [(("teams", name), team.usage_limits) for name, team in document.value.teams.items()]
    for path, section in sections:
        cost = section.per_team.cost_per_month_usd
        if cost is not None and not 0 <= cost <= HIGHEST_USD:
            place = (*path, "usage_limits", "per_team", "cost_per_month_usd")
            yield document.problem(f"A monthly cost is between 0 and {HIGHEST_USD} dollars.", *place)


def _policy_problems(document: Document[PolicyFile]) -> Iterator[Problem]:
    names: dict[str, int] = {}
    for index, policy in enumerate(document.value.policies):
        path = ("policies", index)
        first = names.setdefault(policy.name, index)
        if first != index:
            line = document.position("policies", first).line
            yield document.problem(f"The policy '{policy.name}' is already written in line {line}.", *path, "name")
        if sentence := named_problem(policy):
            yield document.problem(sentence, *path)


def _access_problems(document: Document[PolicyFile], roles: Roles) -> Iterator[Problem]:
    control = document.value.security.access_control
    if not control.authentication.required:
        path = ("security", "access_control", "authentication", "required")
        yield document.problem("Authentication cannot be switched off; set it to true or remove the key.", *path)
    for section, lists in (("models", document.value.models), ("tools", document.value.tools)):
        for role in lists.roles:
            if role not in roles.names():
                sentence = f"There is no role '{role[:60]}' (roles: {', '.join(roles.names())})."
                yield document.problem(sentence, section, "roles", role, key=True)
