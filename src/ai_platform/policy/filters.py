"""Content filters of a policy: what a person asks and what a tool call would do, against the patterns of its scope.

Not data protection: a filter is a rule about topics and actions ("no destructive SQL"), not a detector of values.
Matching takes time linear in the text. Above: policy. Below: patterns, prompt, surfaces.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.policy.patterns import Expression, PatternSet
from ai_platform.policy.prompt import prompts_of
from ai_platform.policy.schema import FilterScope
from ai_platform.policy.surfaces import Surfaces
from ai_platform.policy.tools import arguments_of, target_of

_WITH_ARGUMENTS = frozenset({Operation.TOOLS_CALL, Operation.PROMPTS_GET})

TOOL_SCOPES = frozenset({FilterScope.TOOL_ARGUMENTS, FilterScope.DATABASE_QUERIES, FilterScope.SQL})


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """rule: its name in refusals and records. message: the policy's own words, without a full stop."""

    rule: str
    scope: FilterScope
    message: str
    expression: Expression


class ContentFilters:
    """unreadable: tool calls refused because their arguments could not be read (fail closed)."""

    def __init__(self, filters: Sequence[Filter], contact: str) -> None:
        self._filters = {scope: [each for each in filters if each.scope is scope] for scope in FilterScope}
        self._patterns = {
            scope: PatternSet([each.expression for each in chosen]) for scope, chosen in self._filters.items() if chosen
        }
        self._contact = contact
        self.reads_prompts = FilterScope.GENERAL in self._patterns
        self.reads_tools = not TOOL_SCOPES.isdisjoint(self._patterns)
        self.unreadable = 0

    def check_input(self, call: Call) -> Call:
        """Refuse a call whose newest text a `general` filter matches, or a tool call that a filter matches; the call to
        go on with.

        Older text that matches (a refused prompt stays in the client's conversation and comes again with the next
        one) is replaced, the same way each time, so that it leaves neither now nor later and the session goes on.

        Raises:
            Denied: CONTENT_FILTER, with the filter's message; never with the text that matched.
            InvalidCall: the messages cannot be read (fail closed).

        """
        if call.operation in _WITH_ARGUMENTS:
            self.check_tool_use(target_of(call), arguments_of(call))
        if not self.reads_prompts:
            return call
        prompts = prompts_of(call)
        for prompt in prompts:
            if prompt.newest is not None and (found := self._first(FilterScope.GENERAL, [prompt.newest])):
                raise self._denied(found, "Your request")
        body = call.body
        for prompt in prompts:
            for before, after in prompt.changes(self._without_matches):
                body = body.replace(before, after)
        return call if body is call.body else call.with_body(body)

    def check_tool_use(self, name: str, arguments: bytes) -> None:
        """Refuse a tool call that a filter matches. arguments: its input as JSON, from the model or an MCP client.

        Raises:
            Denied: CONTENT_FILTER.

        """
        if not self.reads_tools:
            return
        surfaces = Surfaces(name, self._decoded(name, arguments))
        for scope, texts in (
            (FilterScope.TOOL_ARGUMENTS, surfaces.texts),
            (FilterScope.DATABASE_QUERIES, surfaces.database),
            (FilterScope.SQL, surfaces.statements),
        ):
            if found := self._first(scope, texts):
                raise self._denied(found, f"The call of the tool '{name[:80]}'")

    def _decoded(self, name: str, arguments: bytes) -> Any:
        try:
            return msgspec.json.decode(arguments)
        except (msgspec.DecodeError, RecursionError) as error:
            self.unreadable += 1
            message = (
                f"The call of the tool '{name[:80]}' was stopped: its arguments are not readable JSON, so the content"
                f" filters cannot check them. Try again. {self._contact}"
            )
            raise Denied(Refusal.CONTENT_FILTER, message, rule="content_filters") from error

    def _first(self, scope: FilterScope, texts: Sequence[str]) -> Filter | None:
        patterns = self._patterns.get(scope)
        if patterns is None:
            return None
        for text in texts:
            if matches := patterns.find(_plain(text)):
                return self._filters[scope][min(match.number for match in matches)]
        return None

    def _without_matches(self, text: str) -> str:
        patterns = self._patterns[FilterScope.GENERAL]
        plain = _plain(text)
        matches = patterns.find(plain)
        if not matches:
            return text
        data = plain.encode("utf-8", "replace")
        parts: list[bytes] = []
        position = 0
        for match in matches:
            if match.start >= position:
                rule = self._filters[FilterScope.GENERAL][match.number].rule
                parts += [data[position : match.start], f"[removed by policy: {rule}]".encode()]
            position = max(position, match.end)
        return b"".join([*parts, data[position:]]).decode("utf-8", "replace")

    def _denied(self, found: Filter, what: str) -> Denied:
        message = found.message or "this is not allowed"
        return Denied(
            Refusal.CONTENT_FILTER,
            f"{what} was stopped by the content filter '{found.rule}' (scope {found.scope.value}): {message}. Change"
            f" the request so that it does not need this. {self._contact}",
            rule=found.rule,
        )


def _plain(text: str) -> str:
    """Look-alike letters and invisible characters undone, so that they do not hide a word."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
