"""Admin endpoints of the policy: what is in force, and whether a text would be a valid policy."""

import asyncio
from typing import Any

from ai_platform.documents import DocumentError
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.endpoint import AdminRequest, Endpoint
from ai_platform.policy import PolicyStore


def endpoints(store: PolicyStore) -> list[Endpoint]:
    """Routes under /admin/policy. Neither changes anything: a policy is changed in its file."""
    routes = PolicyRoutes(store)
    return [
        Endpoint("GET", "/admin/policy", Permission.POLICY_READ, routes.show),
        Endpoint("POST", "/admin/policy/check", Permission.POLICY_READ, routes.check),
    ]


class PolicyRoutes:
    def __init__(self, store: PolicyStore) -> None:
        self._store = store

    async def show(self, request: AdminRequest) -> dict[str, Any]:
        """The version in force, where it came from, its rules, and what is wrong with the file as it is now."""
        del request
        store = self._store
        return {
            "version": store.version,
            "sha256": store.current.sha256,
            "source": store.source,
            "loaded_at": store.loaded_at,
            "reloads": store.reloads,
            "failures": store.failures,
            "last_error": str(store.last_error) if store.last_error else None,
            "roles": {name: sorted(permissions) for name, permissions in store.current.roles.granted.items()},
            "rules": store.current.summary(),
        }

    async def check(self, request: AdminRequest) -> dict[str, Any]:
        """Body {text}: {ok, version, rules}, or {ok: false, problems} with line, column, message, excerpt."""
        text = request.body.get("text")
        if not isinstance(text, str):
            raise InvalidCall(Refusal.INVALID_REQUEST, 'The body must be {"text": "..."} with the policy\'s YAML.')
        try:
            policy = await asyncio.to_thread(self._store.check, text)
        except DocumentError as error:
            return {"ok": False, "problems": problems(error)}
        except ConfigError as error:
            return {
                "ok": False,
                "problems": [{"line": 0, "column": 0, "message": str(error), "suggestion": None, "excerpt": ""}],
            }
        return {"ok": True, "version": policy.version, "rules": policy.summary()}


def problems(error: DocumentError) -> list[dict[str, Any]]:
    return [
        {
            "line": problem.position.line,
            "column": problem.position.column,
            "message": str(problem),
            "suggestion": problem.suggestion,
            "excerpt": excerpt,
        }
        for problem, excerpt in zip(error.problems, error.excerpts, strict=True)
    ]
