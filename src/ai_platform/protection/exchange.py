"""A vault as one call sees it: tokens for what it sends, values for the tokens in its answer.

What comes back and what does not: a token is restored only in the scope that kept its value. One that stands in the
request or the answer as text, outside of what the assistant said, was injected there (by a tool's result, a document):
it is never restored in a tool's arguments, and in text only when the request holds the value too.
Above: guard.py, watcher.py, restore.py. Below: vault.py.
"""

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from hashlib import blake2b

from ai_platform.protection.tokens import is_token
from ai_platform.protection.vault import Scope, Vault
from ai_platform.stores.rows import Insert

_THINKING = "thinking:"
_INJECTED = "injected:"


class Exchange:
    """tools: globs over the names of tools whose arguments get values back.

    rows: what is to be written with the call's events; tell `written` when they are durable.
    minted, restored: how many values, by type.
    """

    __slots__ = ("_injected", "_later", "_nothing", "_seen", "_vault", "minted", "restored", "rows", "scope", "tools")

    def __init__(self, vault: Vault, scope: Scope, tools: tuple[str, ...] = ()) -> None:
        self.scope = scope
        self.tools = tools
        self.rows: list[Insert] = []
        self.minted: Counter[str] = Counter()
        self.restored: Counter[str] = Counter()
        self._vault = vault
        self._seen: set[str] = set()
        self._injected: frozenset[str] = frozenset()
        self._nothing = False
        self._later = False

    @property
    def holds(self) -> bool:
        """Is there anything to restore?"""
        return not self._nothing and self._vault.holds(self.scope)

    def token(self, kind: str, value: str) -> str:
        """What stands for a value that nobody gets back (of an answer, or a tool's result)."""
        return self._vault.token(self.scope, kind, value)

    def mint(self, kind: str, value: str) -> str:
        """What stands for a value of the request; it can be restored in this scope."""
        token = self.token(kind, value)
        if token not in self._seen:
            self._seen.add(token)
            self.minted[kind] += 1
            self._keep(token, value)
        return token

    def injected(self, tokens: Iterable[str]) -> None:
        """These stand in the request as text."""
        self._injected = frozenset(tokens)

    def brought(self, tokens: Iterable[str]) -> None:
        """These stand in a result that the model was shown in the middle of its answer: somebody else's words too."""
        self._injected |= frozenset(tokens)

    def keep_injected(self) -> None:
        """The answer comes in another call (results of a batch): what stood in this request as text is kept for it."""
        for token in self._injected:
            if self._vault.find(self.scope, token) is not None:
                self._keep(_INJECTED + token, "with its value" if token in self._seen else "")

    async def recall_injected(self, tokens: Iterable[str]) -> None:
        """The answer is one to an earlier call. Without the store nothing is restored (fails closed)."""
        self._later = True
        unread = self._vault.unread
        await self._vault.recall(self.scope, [_INJECTED + token for token in tokens])
        if self._vault.unread != unread:
            self.restore_nothing()

    def restore_nothing(self) -> None:
        self._nothing = True

    def restore(self, token: str, tool: str | None = None) -> str | None:
        """The value, or None where it must not be put back. tool: the one whose arguments the token stands in."""
        if self._nothing or not is_token(token):
            return None
        if tool is not None and (token in self._injected or not self.restores_in(tool)):
            return None
        if token in self._injected and token not in self._seen:
            return None
        kept = self._vault.find(self.scope, _INJECTED + token) if self._later else None
        if kept is not None and (tool is not None or not kept):
            return None
        value = self._vault.find(self.scope, token)
        if value is not None:
            self.restored[token[:-10]] += 1
        return value

    def restores_in(self, tool: str) -> bool:
        return bool(tool) and any(fnmatchcase(tool, glob) for glob in self.tools)

    def keep_thinking(self, signature: str, text: str) -> None:
        """The text of a signed thinking block that the caller sees redacted: it goes back as it was signed."""
        self._keep(_thinking_name(signature), text)

    def thinking(self, signature: str) -> str | None:
        return self._vault.find(self.scope, _thinking_name(signature))

    async def recall_thinking(self, signatures: Iterable[str]) -> None:
        await self._vault.recall(self.scope, [_thinking_name(signature) for signature in signatures])

    async def recall(self, tokens: Iterable[str] | None = None) -> None:
        """Read from the store what this process has not kept itself."""
        await self._vault.recall(self.scope, None if tokens is None else [token for token in tokens if is_token(token)])

    def written(self) -> None:
        self._vault.written(self.scope, self.rows)
        self.rows = []

    def _keep(self, name: str, text: str) -> None:
        row = self._vault.keep(self.scope, name, text)
        if row is not None:
            self.rows.append(row)


def _thinking_name(signature: str) -> str:
    return _THINKING + blake2b(signature.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
