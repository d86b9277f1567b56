"""Whose upstream a call goes to when organisations share a gateway."""

import pytest

from ai_platform.domain.call import Call, Door, Head, Operation
from ai_platform.domain.errors import Denied
from ai_platform.domain.principal import Principal
from ai_platform.routing import Router
from ai_platform.routing.router import Choice

ROUTER = Router(
    [Choice(name="shared"), Choice(name="acme", tenants=("acme",)), Choice(name="both", tenants=("acme", "zeta"))]
)


def asked(tenant: str, operation: Operation, router: Router = ROUTER) -> list[str]:
    call = Call(id="c", door=Door.MESSAGES, operation=operation, method="POST", path="/", head=Head(model="claude-x"))
    return [target.name for target in router.choose(Principal(id="p", name="p", tenant=tenant), call).targets]


@pytest.mark.requirement("ID-5")
@pytest.mark.parametrize(
    ("tenant", "names"),
    [("acme", ["acme", "both", "shared"]), ("zeta", ["both", "shared"]), ("default", ["shared"]), ("x", ["shared"])],
)
def test_a_tenants_own_upstreams_come_first_and_serve_nobody_else(tenant: str, names: list[str]):
    for _ in range(2):  # remembered, too
        assert asked(tenant, Operation.MESSAGES_CREATE) == names


@pytest.mark.requirement("ID-5")
@pytest.mark.parametrize("operation", [Operation.FILES, Operation.FILES_CREATE, Operation.BATCHES])
def test_what_an_upstream_keeps_is_kept_by_one_of_the_tenants_own(operation: Operation):
    assert asked("acme", operation) == ["acme"]
    assert asked("zeta", operation) == ["both"]
    assert asked("default", operation) == ["shared"]
    with pytest.raises(Denied, match="cannot tell organisations apart"):
        asked("x", operation)


def test_an_installation_without_tenants_notices_nothing():
    one = Router([Choice(name="only")])
    assert [asked("default", operation, one) for operation in (Operation.MESSAGES_CREATE, Operation.FILES)] == [
        ["only"],
        ["only"],
    ]
