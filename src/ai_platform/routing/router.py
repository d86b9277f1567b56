"""Ordered choice among the configured upstreams by tenant and model; batches and files stay with one upstream.

An upstream cannot tell tenants apart: what lives there under one credential is everybody's who uses it. Files and
batches of a tenant therefore need an upstream of its own; the shared ones keep those of the operator's.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.principal import HOME, Principal
from ai_platform.domain.route import Route, Target

STATEFUL = frozenset({Operation.BATCHES_CREATE, Operation.BATCHES, Operation.FILES_CREATE, Operation.FILES})
"""Operations whose identifiers live on one upstream: they never fail over."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream as the router sees it: `models` are globs, `rename` maps the caller's model to the upstream's.

    tenants: whose it is; empty = everybody's.
    """

    name: str
    platform: str = "anthropic"
    region: str = ""
    models: tuple[str, ...] = ("*",)
    rename: dict[str, str] = {}
    tenants: tuple[str, ...] = ()

    def serves(self, model: str | None) -> bool:
        return model is None or any(fnmatchcase(model, glob) for glob in self.models)

    def target(self, model: str | None) -> Target:
        served = self.rename.get(model, model) if model is not None else None
        return Target(name=self.name, platform=self.platform, region=self.region, model=served)


class Router:
    """choices: in order of preference, as the configuration lists them."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._choices = tuple(choices)
        self._routes: dict[tuple[str, str | None, bool], Route] = {}

    def choose(self, caller: Principal, call: Call) -> Route:
        """The route for this call.

        Raises:
            Denied: no upstream serves the model, or the tenant has none that may keep something for it.
        """
        model = call.head.model
        key = (caller.tenant, model, call.operation in STATEFUL)
        route = self._routes.get(key)
        if route is None:
            route = self._route(caller.tenant, model, single=key[2])
            if len(self._routes) < 1024:  # model names come from callers: a bounded memo
                self._routes[key] = route
        return route

    def _route(self, tenant: str, model: str | None, *, single: bool) -> Route:
        own = [choice for choice in self._choices if tenant in choice.tenants]
        shared = [choice for choice in self._choices if not choice.tenants]
        if single and not own and tenant != HOME:
            raise Denied(
                Refusal.PERMISSION_MISSING,
                "Files and batches lie at the upstream, which cannot tell organisations apart. Whoever runs this"
                f" gateway can give '{tenant}' an upstream of its own (`tenants: [{tenant}]`).",
                rule="upstreams.tenants",
            )
        mine = own if single and own else [*own, *shared]
        targets = tuple(choice.target(model) for choice in mine if choice.serves(model))
        if not targets:
            names = ", ".join(choice.name for choice in mine) or "none"
            raise Denied(
                Refusal.MODEL_UNKNOWN,
                f"No configured upstream serves the model {model!r} (upstreams: {names}). Choose another model,"
                " or ask whoever runs this gateway to add it to an upstream's `models`.",
                rule="routing",
            )
        if single:
            return Route(model=model, targets=targets[:1], reason="first upstream: its identifiers live there")
        return Route(model=model, targets=targets, reason="upstreams in configured order")
