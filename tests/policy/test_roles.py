"""roles.yaml: short names, permissions by name, and mistakes with their place."""

import re
from pathlib import Path

import pytest

from ai_platform.documents import DocumentError
from ai_platform.domain.permission import ALIASES, Permission
from ai_platform.policy import Policy, Roles

pytestmark = pytest.mark.requirement("ID-2")


def test_the_missions_four_roles_are_built_in():
    roles = Roles({})
    assert roles.permissions(["admin"]) == {"*"}
    assert roles.permissions(["developer"]) == (
        ALIASES["read_code"] | ALIASES["write_code"] | ALIASES["create_branch"] | ALIASES["create_pr"]
    )
    assert Permission.PR_APPROVE in roles.permissions(["reviewer"])
    assert Permission.CODE_WRITE not in roles.permissions(["reviewer"])
    assert {Permission.AUDIT_READ, Permission.LOGS_READ} <= roles.permissions(["security_auditor"])


def test_roles_add_up_and_an_unknown_role_gives_nothing():
    roles = Roles({})
    assert roles.permissions([]) == roles.permissions(["nobody"]) == frozenset()
    both = roles.permissions(["reviewer", "member", "nobody"])
    assert both == roles.permissions(["reviewer"]) | roles.permissions(["member"])


def test_every_short_name_and_every_permission_may_be_listed():
    names = [*ALIASES, *(permission.value for permission in Permission), "deploy:web:staging", "deploy:*:production"]
    roles = Roles.load("roles: {all: {permissions: [" + ", ".join(f'"{name}"' for name in names) + "]}}")
    assert {permission.value for permission in Permission} <= roles.permissions(["all"])
    assert {"deploy:web:staging", "deploy:*:production"} <= roles.permissions(["all"])


def test_a_file_replaces_a_role_of_the_same_name_and_keeps_the_others():
    roles = Roles.load("roles: {developer: {permissions: []}, admin: {permissions: '*'}}")
    assert roles.permissions(["developer"]) == frozenset()
    assert roles.permissions(["admin"]) == {"*"}
    assert roles.permissions(["member"])


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        (
            "roles: {dev: {permissions: [read_cod]}}",
            "1:29",
            "There is no permission 'read_cod'. Did you mean 'read_code'?",
        ),
        ("roles:\n  a:\n    permissions: [claude:messages:creat]\n", "3:19", "Did you mean 'claude:messages:create'?"),
        ("roles: {a: {permissions: all}}", "1:26", "Short names: approve_pr"),
        ("roles: {a: {permissions: ['deploy:web']}}", "1:27", "There is no permission"),
        ("roles: {a: {permission: ['*']}}", "1:13", "Did you mean 'permissions'?"),
        ("roles: {'*': {permissions: []}}", "1:9", "The role name '*' is not usable"),
        ("role: {}", "1:1", "Did you mean 'roles'?"),
        ("roles: {a: {}}", "1:12", "needs the key 'permissions'"),
    ],
)
def test_a_mistake_is_placed_and_explained(text: str, where: str, says: str):
    with pytest.raises(DocumentError, match=re.escape(says)) as caught:
        Roles.load(text, name="roles.yaml")
    assert caught.value.where == f"roles.yaml:{where}"


def test_the_policy_reads_the_roles_file_it_names(tmp_path: Path):
    policy_file = tmp_path / "enterprise.yaml"
    policy_file.write_text("security: {access_control: {authorization: {roles_file: roles.yaml}}}")
    with pytest.raises(DocumentError, match=r"enterprise\.yaml:1:57: The roles file .*roles\.yaml cannot be read"):
        Policy.load(policy_file)
    (tmp_path / "roles.yaml").write_text("roles: {chatter: {permissions: ['claude:messages:create']}}")
    assert Policy.load(policy_file).roles.permissions(["chatter"]) == {"claude:messages:create"}
    (tmp_path / "roles.yaml").write_text("roles: {chatter: {permissions: ['claude:messages:crate']}}")
    with pytest.raises(DocumentError, match=r"roles\.yaml:1:33: .* Did you mean"):
        Policy.load(policy_file)


def test_a_text_from_outside_cannot_make_the_platform_open_a_file():
    text = "security: {access_control: {authorization: {roles_file: /etc/passwd}}}"
    assert Policy.load(text).roles.names() == Roles({}).names()
