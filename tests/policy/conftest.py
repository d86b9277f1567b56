"""Callers and calls for the policy's suite."""

from collections.abc import Callable

import msgspec
import pytest

from ai_platform.domain.call import Call, Door, Head, Operation
from ai_platform.domain.principal import Principal, PrincipalKind
from ai_platform.policy import Roles


@pytest.fixture
def person() -> Callable[..., Principal]:
    """A caller with the built-in meaning of its roles."""

    def make(*roles: str, **fields: object) -> Principal:
        values = {
            "id": "usr_1",
            "name": "Ann",
            "kind": PrincipalKind.PERSON,
            "email": "Ann@Example.com",
            "roles": roles,
            "permissions": Roles({}).permissions(roles),
        } | fields
        return Principal(**values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def call() -> Callable[..., Call]:
    def make(
        model: str | None = "claude-sonnet-5-5",
        operation: Operation = Operation.MESSAGES_CREATE,
        body: object = None,
    ) -> Call:
        return Call(
            id="call_1",
            door=Door.MESSAGES,
            operation=operation,
            method="POST",
            path="/v1/messages",
            body=body if isinstance(body, bytes) else msgspec.json.encode(body or {}),
            head=Head(model=model),
        )

    return make
