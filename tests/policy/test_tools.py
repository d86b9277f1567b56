"""Tools, resources and prompts of MCP servers: closed until a role names them, narrowed by lists and by the key."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.call import Call, Door, Head, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, Denied, InvalidCall
from ai_platform.domain.permission import OFFERED, Offer, covers
from ai_platform.domain.principal import Principal, PrincipalKind
from ai_platform.identity.scopes import Reach, check_names, exceeds, reach_of
from ai_platform.policy import Policy, Roles

People = Callable[..., Principal]

OPERATIONS = {
    Offer.TOOL: Operation.TOOLS_CALL,
    Offer.RESOURCE: Operation.RESOURCES_READ,
    Offer.PROMPT: Operation.PROMPTS_GET,
}


def asking(server: str, name: str, offer: Offer = Offer.TOOL, arguments: bytes = b"") -> Call:
    head = Head(server=server, tool=name)
    body = b'{"name": "x", "arguments": ' + arguments + b"}" if arguments else b""
    operation = OPERATIONS[offer]
    return Call(id="call_1", door=Door.MCP, operation=operation, method="POST", path="/mcp", head=head, body=body)


def holding(*permissions: str, **fields: object) -> Principal:
    values = {"id": "usr_1", "name": "Ann", "kind": PrincipalKind.PERSON, "email": "ann@example.com"} | fields
    return Principal(permissions=frozenset(permissions), **values)  # type: ignore[arg-type]


@pytest.mark.requirement("ID-2")
@pytest.mark.parametrize("offer", list(Offer))
def test_nobody_may_use_what_no_role_of_theirs_names(offer: Offer, person: People):
    policy = Policy.load("")
    for role in ("developer", "reviewer", "security_auditor", "member"):
        with pytest.raises(Denied) as refused:
            policy.decide(person(role), asking("github", "create_issue", offer))
        assert refused.value.reason is Refusal.TOOL_NOT_ALLOWED
        assert not policy.may_reach(person(role), OPERATIONS[offer], "github", "create_issue")
    assert policy.decide(person("admin"), asking("github", "create_issue", offer)).rule.startswith("permission ")


@pytest.mark.parametrize("role", ["developer", "reviewer", "security_auditor"])
def test_the_roles_of_the_mission_may_read_through_the_bundled_servers(role: str, person: People):
    policy = Policy.load("")
    caller = person(role)
    assert policy.may_reach(caller, OPERATIONS[Offer.TOOL], "knowledge-base", "search_kb")
    assert policy.may_reach(caller, OPERATIONS[Offer.RESOURCE], "knowledge-base", "kb://docs/a:b/c")
    assert policy.may_reach(caller, OPERATIONS[Offer.PROMPT], "prompts", "code_review")
    assert not policy.may_reach(caller, OPERATIONS[Offer.TOOL], "deployments", "deploy_staging")


def test_who_may_deploy_something_may_call_the_deployments_server():
    roles = Roles.load("roles: {releaser: {permissions: ['deploy:web:staging']}}")
    assert roles.permissions(["releaser"]) == {"deploy:web:staging", "tools:deployments/*:call"}


def test_a_refusal_names_the_permission_the_roles_that_have_it_and_whom_to_ask(person: People):
    policy = Policy.load("contact: Ask ops@example.com.")
    with pytest.raises(Denied) as refused:
        policy.decide(person("member"), asking("github", "create_issue"))
    assert str(refused.value) == (
        "The tool 'github/create_issue' is not allowed for you (rule: permission tools:github/create_issue:call)."
        " Roles that have it: admin; yours: member. Ask ops@example.com."
    )


def test_the_lists_narrow_what_roles_grant_and_deny_wins():
    policy = Policy.load("""
tools:
  deny: ["*/delete_*"]
  teams: {interns: {allow: ["github/get_*"]}}
  users: {ann@example.com: {deny: ["github/get_secrets"]}}
""")
    ann, bob = holding("tools:github/*:call"), holding("tools:github/*:call", email="bob@example.com", team="interns")
    assert policy.may_reach(ann, OPERATIONS[Offer.TOOL], "github", "create_issue")
    assert not policy.may_reach(ann, OPERATIONS[Offer.TOOL], "github", "Delete_Repository")
    assert not policy.may_reach(ann, OPERATIONS[Offer.TOOL], "github", "get_secrets")
    assert policy.may_reach(bob, OPERATIONS[Offer.TOOL], "github", "get_secrets")
    assert not policy.may_reach(bob, OPERATIONS[Offer.TOOL], "github", "create_issue")
    assert not policy.may_reach(ann, OPERATIONS[Offer.TOOL], "jira", "get_issue"), "a list narrows, it never grants"
    with pytest.raises(Denied, match=r"tools.teams.interns.allow.*You may use: github/get_\*"):
        policy.decide(bob, asking("github", "create_issue"))


def test_the_scope_of_a_key_narrows_tools_resources_and_prompts():
    policy = Policy.load("")
    caller = holding("*", tools=("kb/search_*",))
    assert policy.may_reach(caller, OPERATIONS[Offer.TOOL], "kb", "search_kb")
    assert not policy.may_reach(caller, OPERATIONS[Offer.TOOL], "kb", "reindex")
    assert not policy.may_reach(caller, OPERATIONS[Offer.RESOURCE], "kb", "kb://docs/1")
    assert not policy.may_reach(caller, OPERATIONS[Offer.TOOL], "other", "search_kb")


def test_a_list_of_what_there_is_may_be_asked_for_by_everybody(person: People):
    call = Call(id="call_1", door=Door.MCP, operation=Operation.MCP_LIST, method="POST", path="/mcp")
    assert Policy.load("").decide(person(), call).rule == "may_reach"


@pytest.mark.parametrize("head", [Head(), Head(server="kb"), Head(tool="x"), Head(server="", tool="x")])
def test_a_call_that_names_no_server_or_no_tool_is_refused(head: Head):
    call = Call(id="call_1", door=Door.MCP, operation=Operation.TOOLS_CALL, method="POST", path="/mcp", head=head)
    with pytest.raises(Denied):
        Policy.load("").decide(holding("*"), call)


@pytest.mark.requirement("PO-4")
def test_the_filters_of_the_mission_hold_for_calls_through_the_door_of_tools():
    policy = Policy.load("""
content_filters:
  block_patterns:
    - {pattern: "prod|production", scope: database_queries, message: "Cannot access production databases"}
    - {pattern: "DROP TABLE|DELETE FROM", scope: sql, message: "Destructive SQL not allowed"}
""")
    with pytest.raises(Denied, match="Destructive SQL not allowed"):
        policy.check_input(asking("warehouse", "run", arguments=b'{"sql": "drop/**/table users"}'))
    with pytest.raises(Denied, match="Cannot access production databases"):
        policy.check_input(asking("prod-db", "run", arguments=b'{"n": 1}'))
    with pytest.raises(InvalidCall, match="not a JSON object"):
        policy.check_input(asking("warehouse", "run", arguments=b'{"sql": '))
    call = asking("files", "write", arguments=b'{"path": "deploy/production.yaml", "text": "DROP TABLE"}')
    assert policy.check_input(call) is call


@pytest.mark.parametrize(
    ("granted", "wanted", "covered"),
    [
        ("tools:*:call", "tools:kb/search:call", True),
        ("tools:*:call", "tools:kb/*:call", True),
        ("tools:kb/*:call", "tools:*:call", False),
        ("tools:kb/*:call", "tools:kb2/x:call", False),
        ("tools:kb/s*h:call", "tools:kb/search:call", True),
        ("tools:kb/*:call", "resources:kb/x:read", False),
        ("tools:kb/?:call", "tools:kb/*:call", False),
        ("tools:kb/a.c:call", "tools:kb/abc:call", False),
        ("*", "tools:kb/*:call", True),
        ("tools:kb/search:call", "tools:kb/Search:call", False),
    ],
)
def test_one_permission_covers_another(granted: str, wanted: str, covered: object):
    assert covers(granted, wanted) == covered


GLOB = st.text("ab*/", max_size=6)


@given(GLOB, GLOB, st.text("ab/", max_size=8))
def test_what_a_covered_pattern_matches_its_cover_matches_too(granted: str, wanted: str, name: str):
    if covers(granted, wanted) and covers(wanted, name):
        assert covers(granted, name)


@pytest.mark.parametrize(
    "name", ["tools:kb:call", "tools:kb/x:read", "tools:k b/x:call", "tool:kb/x:call", "tools:call"]
)
def test_a_permission_that_could_never_match_is_refused(name: str):
    assert not OFFERED.fullmatch(name)
    with pytest.raises(ConfigError, match="There is no permission"):
        Roles.load(f"roles: {{a: {{permissions: ['{name}']}}}}")


def test_a_key_narrowed_by_a_pattern_keeps_what_role_and_scope_both_allow():
    class Book:
        version = "1"

        def permissions(self, roles: object) -> frozenset[str]:
            del roles
            return frozenset({"tools:kb/*:call", "tools:github/get_issue:call", "claude:messages:create"})

        def role_names(self) -> tuple[str, ...]:
            return ("r",)

    reach = reach_of(["r"], ["tools:kb/search:call", "tools:git*:call", "tools:jira/*:call"], Book())
    assert reach.permissions == {"tools:kb/search:call", "tools:github/get_issue:call"}
    check_names(["r"], ["tools:kb/*:call", "deploy:web:staging"], Book())
    with pytest.raises(InvalidCall):
        check_names(["r"], ["tools:kb:call"], Book())
    assert exceeds(Reach(frozenset({"tools:*:call"}), (), ()), reach) == "the permission tools:*:call"
    assert not exceeds(Reach(frozenset({"tools:kb/search:call"}), (), ()), reach)


def test_a_key_for_one_deployment_may_call_the_server_for_it_and_nothing_more():
    class Everything:
        version = "1"

        def permissions(self, roles: object) -> frozenset[str]:
            del roles
            return frozenset({"*"})

        def role_names(self) -> tuple[str, ...]:
            return ("admin",)

    reach = reach_of(["admin"], ["deploy:web:staging"], Everything())
    assert reach.permissions == {"deploy:web:staging", "tools:deployments/*:call"}
    assert reach.narrowed


@pytest.mark.parametrize(
    "uri",
    [
        "file:///public/../secret",
        "file:///public/..",
        "file:///public/./../secret",
        "file:///public/%2e%2e/secret",
        "file:///public/%2E./secret",
        "file:///public/..%2fsecret",
        "file:///public%2f..%2fsecret",
        "file:///public/%252e%252e/secret",
        "file:///public/..\\secret",
        "file:///public/..%5csecret",
        "file:///public/..;/secret",
    ],
)
def test_a_uri_does_not_climb_out_of_what_a_role_names(uri: str):
    caller = holding("resources:kb/file:///public/*:read", "resources:kb/file:///public%*:read")
    policy = Policy.load("")
    with pytest.raises(Denied) as refused:
        policy.decide(caller, asking("kb", uri, Offer.RESOURCE))
    assert refused.value.rule == "dot segments in a URI"
    assert not policy.may_reach(caller, Operation.RESOURCES_READ, "kb", uri)
    for plain in ("file:///public/a..b", "file:///public/.hidden", "file:///public/a%20b/v1.2.", "file:///public/..a"):
        assert policy.decide(caller, asking("kb", plain, Offer.RESOURCE))


def test_a_uri_that_is_encoded_does_not_pass_a_list_that_denies_it():
    policy = Policy.load('version: "1"\ntools: {deny: ["kb/file:///secret*"]}\n')
    caller = holding("resources:kb/*:read")
    for uri in ("file:///secret", "file:///%73ecret", "file:///%53ECRET/1", "file://%2fsecret"):
        with pytest.raises(Denied, match=r"tools\.deny"):
            policy.decide(caller, asking("kb", uri, Offer.RESOURCE))
    assert policy.decide(caller, asking("kb", "file:///open%20one", Offer.RESOURCE))
