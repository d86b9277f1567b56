"""Model access: who may use which model, by person, team, role and key."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.principal import Principal, PrincipalKind
from ai_platform.policy import Policy
from ai_platform.policy.globs import Globs, plain_model

pytestmark = pytest.mark.requirement("PO-1")

People = Callable[..., Principal]
Calls = Callable[..., Call]

POLICY = Policy.load("""
models:
  allow: ["claude-haiku-*", "claude-sonnet-*"]
  deny: ["*-legacy"]
  roles:
    reviewer: {allow: ["claude-haiku-*"]}
    developer: {allow: ["claude-sonnet-*", "claude-opus-*"], deny: ["claude-opus-4-*"]}
  teams:
    research: {allow: ["*"]}
    interns: {deny: ["claude-sonnet-*"]}
  users:
    ann@example.com: {allow: ["claude-fable-*"]}
    usr_7: {deny: ["*"]}
    nightly: {allow: ["claude-haiku-5-5"]}
""")

HAIKU, SONNET, OPUS, OLD_OPUS, FABLE, LEGACY = (
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
    "claude-opus-4-7",
    "claude-fable-5-2",
    "claude-haiku-3-legacy",
)


@pytest.mark.parametrize(
    ("roles", "fields", "may"),
    [
        (("member",), {}, {HAIKU, SONNET}),
        (("reviewer",), {}, {HAIKU}),
        (("developer",), {}, {SONNET, OPUS}),
        (("reviewer", "developer"), {}, {HAIKU, SONNET, OPUS}),
        (("reviewer", "member"), {}, {HAIKU, SONNET}),
        (("reviewer",), {"team": "research"}, {HAIKU, SONNET, OPUS, OLD_OPUS, FABLE}),
        (("developer",), {"team": "research"}, {HAIKU, SONNET, OPUS, FABLE}),
        (("member",), {"team": "interns"}, {HAIKU}),
        (("developer",), {"team": "interns"}, {OPUS}),
        (("developer",), {"email": "Ann@Example.com"}, {FABLE}),
        (("developer",), {"email": "ann@example.com", "team": "research"}, {FABLE}),
        (("developer",), {"id": "usr_7"}, set()),
        (("developer",), {"name": "nightly", "kind": PrincipalKind.SERVICE}, {HAIKU}),
        (("member",), {"name": "nightly"}, {HAIKU, SONNET}),
        (("member",), {"models": ("claude-haiku-*", "claude-opus-*")}, {HAIKU}),
        (("developer",), {"team": "research", "models": (OPUS,)}, {OPUS}),
    ],
)
def test_the_matrix_of_models(roles: tuple[str, ...], fields: dict, may: set[str], person: People, call: Calls):
    caller = person(*roles, **{"email": None, **fields})
    for model in (HAIKU, SONNET, OPUS, OLD_OPUS, FABLE, LEGACY):
        if model in may:
            assert POLICY.decide(caller, call(model))
            assert POLICY.may_use(caller, model)
        else:
            with pytest.raises(Denied) as refused:
                POLICY.decide(caller, call(model))
            assert refused.value.reason is Refusal.MODEL_NOT_ALLOWED
            assert not POLICY.may_use(caller, model)


def test_a_denied_model_names_the_rule_and_what_may_be_used_instead(person: People, call: Calls):
    with pytest.raises(Denied) as refused:
        POLICY.decide(person("reviewer", email=None), call(OPUS))
    assert refused.value.rule == "models.roles.reviewer.allow"
    assert str(refused.value) == (
        "The model 'claude-opus-5-5' is not allowed for you (rule: models.roles.reviewer.allow). You may use:"
        " claude-haiku-*. Ask an administrator of this platform."
    )
    with pytest.raises(Denied, match="rule: key scope") as refused:
        POLICY.decide(person("developer", email=None, models=(HAIKU,)), call(OPUS))
    assert refused.value.rule == "key scope"


@pytest.mark.parametrize("operation", [Operation.COUNT_TOKENS, Operation.BATCHES_CREATE])
def test_every_operation_that_names_a_model_is_checked(operation: Operation, person: People, call: Calls):
    with pytest.raises(Denied):
        POLICY.decide(person("admin", email=None), call(FABLE, operation))
    assert POLICY.decide(person("admin", email=None), call(None, Operation.MODELS))


@pytest.mark.parametrize("model", [None, "x" * 300, ""])
def test_a_call_without_a_usable_model_passes_only_where_nothing_is_restricted(
    model: str | None, person: People, call: Calls
):
    with pytest.raises(Denied):
        POLICY.decide(person("developer"), call(model))
    with pytest.raises(Denied):
        Policy.load("").decide(person("developer", models=("claude-*",)), call(model))
    assert Policy.load("").decide(person("developer"), call(model))


@pytest.mark.parametrize(
    "disguised",
    [
        "CLAUDE-OPUS-5-5",
        " claude-opus-5-5 ",
        "anthropic.claude-opus-5-5-v1:0",
        "eu.anthropic.claude-opus-5-5",
        "us-gov.anthropic.claude-opus-5-5",
        "anthropic/claude-opus-5-5",
        "claude-opus-5-5[1m]",
        "claude-opus-5-5@20261001",
    ],
)
def test_a_denied_model_stays_denied_under_a_cloud_name(disguised: str, person: People, call: Calls):
    policy = Policy.load("models: {deny: ['claude-opus-*']}")
    with pytest.raises(Denied):
        policy.decide(person("developer"), call(disguised))


def test_an_empty_allow_list_allows_no_model(person: People, call: Calls):
    with pytest.raises(Denied):
        Policy.load("models: {allow: []}").decide(person("admin"), call())


@given(st.text("ab*?.", max_size=12), st.text("ab.", max_size=12))
def test_a_glob_means_what_a_slow_simple_reading_says(glob: str, name: str):
    def simple(pattern: str, rest: str) -> bool:
        if not pattern:
            return not rest
        if pattern[0] == "*":
            return any(simple(pattern[1:], rest[skip:]) for skip in range(len(rest) + 1))
        return bool(rest) and pattern[0] in ("?", rest[0]) and simple(pattern[1:], rest[1:])

    squeezed = glob
    while "**" in squeezed:
        squeezed = squeezed.replace("**", "*")
    assert Globs([glob]).match(name) == simple(squeezed, name)


def test_a_glob_of_many_stars_is_not_slow():
    assert not Globs(["*a" * 60 + "*b"]).match("a" * 256)


def test_no_glob_at_all_matches_nothing():
    assert not Globs([]).match("")
    assert plain_model("claude-x") == "claude-x"
