"""Ordered choice among the configured upstreams by model; batches and files stay with one upstream."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Route, Target

STATEFUL = frozenset({Operation.BATCHES_CREATE, Operation.BATCHES, Operation.FILES_CREATE, Operation.FILES})
"""Operations whose identifiers live on one upstream: they never fail over."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream as the router sees it: `models` are globs, `rename` maps the caller's model to the upstream's."""

    name: str
    platform: str = "anthropic"
    region: str = ""
    models: tuple[str, ...] = ("*",)
    rename: dict[str, str] = {}

    def serves(self, model: str | None) -> bool:
        return model is None or any(fnmatchcase(model, glob) for glob in self.models)

    def target(self, model: str | None) -> Target:
        served = self.rename.get(model, model) if model is not None else None
        return Target(name=self.name, platform=self.platform, region=self.region, model=served)


class Router:
    """choices: in order of preference, as the configuration lists them."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._choices = tuple(choices)
        self._routes: dict[tuple[str | None, bool], Route] = {}

    def choose(self, caller: Principal, call: Call) -> Route:
        """The route for this call.

        Raises:
            Denied: no upstream serves the model.
        """
        del caller  # a caller's region decides once residency is enforced; today the order is the same for all
        model = call.head.model
        key = (model, call.operation in STATEFUL)
        route = self._routes.get(key)
        if route is None:
            route = self._route(model, single=key[1])
            if len(self._routes) < 1024:  # model names come from callers: a bounded memo
                self._routes[key] = route
        return route

    def _route(self, model: str | None, *, single: bool) -> Route:
        targets = tuple(choice.target(model) for choice in self._choices if choice.serves(model))
        if not targets:
            names = ", ".join(choice.name for choice in self._choices) or "none"
            raise Denied(
                Refusal.MODEL_UNKNOWN,
                f"No configured upstream serves the model {model!r} (upstreams: {names}). Choose another model,"
                " or ask whoever runs this gateway to add it to an upstream's `models`.",
                rule="routing",
            )
        if single:
            return Route(model=model, targets=targets[:1], reason="first upstream: its identifiers live there")
        return Route(model=model, targets=targets, reason="upstreams in configured order")
