"""Trust in definitions (MC-4): approved ones are shown, what is new or changed is held until a person approves it.

Decisions, each with its reason:
- A changed definition is withdrawn, not shown in its approved words: a server that was changed may have been taken
  over. `changed: keep` shows the approved words as long as a call that fits them still fits, and nothing is flagged.
- First use approves only what is not flagged as high or critical, and only once for each kind of definition.
- PostgreSQL gone: nothing can be reviewed, so nothing new is shown (fails closed); a quarantine stays as last known.
Above: the federation, the admin API. Below: stores.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, StoreUnavailable
from ai_platform.domain.principal import Principal
from ai_platform.mcp.needs import Item, Kind
from ai_platform.mcp.settings import Changed, McpServerSettings, Resources
from ai_platform.mcp.trust.definition import differs_in_use, digest, encoded, name_of
from ai_platform.mcp.trust.flag import Flag
from ai_platform.mcp.trust.ledger import Ledger, Outdated, Review, Sighting, Wanted
from ai_platform.mcp.trust.poison import inspect, is_grave
from ai_platform.stores.postgres import SystemDatabase

WATCH_SECONDS = 0.5
MOST_PINNED = 2_000
"""Definitions of one kind and server that are pinned; a server with more uses `resources: open`, or is not trusted."""
LARGEST = 262_144
"""Bytes of one definition that a person could still be asked to read."""
LONGEST_NAME = 2_000
SLICE = 100
"""Resources that are inspected in one go, in a thread."""
REMEMBERED = 200_000


class Notices(Protocol):
    """Who is told; neither waits nor raises."""

    def definitions_held(self, server: str, held: Sequence[Sighting], *, changed: Sequence[str]) -> None:
        """New or changed definitions wait for approval. changed: the names of those that were approved before."""
        ...

    def trust_decided(self, server: str, what: str, *, by: str, before: str, after: str) -> None:
        """A person (or first use) decided. before, after: digests, reasons or counts."""
        ...


class Pins:
    """review, quarantined: see needs.Trust. changed: called with a server's name when a decision about it was taken.

    dropped: definitions that cannot be pinned at all (no name, too large, too many). watch_failures: counter.
    waiting: (server, kind) -> how many definitions were held when they were looked at last.
    """

    def __init__(
        self,
        database: SystemDatabase,
        *,
        settings_of: Callable[[str], McpServerSettings | None],
        notices: Notices,
        changed: Callable[[str], None],
    ) -> None:
        self.ledger = Ledger(database)
        self._settings_of = settings_of
        self._notices = notices
        self._changed = changed
        self._known: dict[str, tuple[int, str]] = {}
        self._tools: dict[str, frozenset[str]] = {}
        self._harmless: set[str] = set()
        self.waiting: dict[tuple[str, str], int] = {}
        self.dropped = 0
        self.watch_failures = 0

    def quarantined(self, server: str) -> str:
        return self._known.get(server, (0, ""))[1]

    def quarantines(self) -> int:
        """How many servers are in quarantine."""
        return sum(bool(why) for _, why in self._known.values())

    async def run(self) -> NoReturn:
        """Notice decisions that were taken on other replicas, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self.watch()
            except StoreUnavailable:
                self.watch_failures += 1

    async def watch(self) -> None:
        known = dict(await self.ledger.versions())
        before, self._known = self._known, known
        for server in {*before, *known}:
            if before.get(server) != known.get(server):
                self._changed(server)

    async def review(self, server: str, kind: Kind, items: Sequence[Item]) -> Sequence[Item]:
        settings = self._settings_of(server)
        if settings is None or self.quarantined(server):
            return []
        if kind is Kind.RESOURCES and settings.resources is Resources.OPEN:
            return await self._unsuspicious(server, kind, items)
        named = self._named(kind, items)
        if kind is Kind.TOOLS:
            self._tools[server] = frozenset(named)
        pins, seen = await self.ledger.pins(server, kind.value)
        digests = {name: digest(kind.value, item) for name, item in named.items()}
        approved = [name for name in named if (pin := pins.get(name)) is not None and pin.approved == digests[name]]
        known = {name for name in named if (pin := pins.get(name)) is not None and pin.held == digests[name]}
        fresh = [name for name in named if name not in known and name not in set(approved)]
        sightings = [
            Sighting(kind.value, name, digests[name], named[name], await self._flags(server, kind, named[name]))
            for name in fresh
        ]
        trusts = settings.first_use and not seen
        trusted = [one for one in sightings if trusts and one.name not in pins and not is_grave(one.flags)]
        held = [one for one in sightings if one not in trusted]
        back = [name for name in approved if pins[name].held is not None]
        if sightings or back or not seen:
            await self._record(server, kind, held, trusted, back)
        shown = [named[name] for name in approved] + [one.item for one in trusted]
        self.waiting[server, kind.value] = len(named) - len(shown)
        if settings.changed is Changed.KEEP:
            changed = [name for name in named if (pin := pins.get(name)) and pin.approved not in {None, digests[name]}]
            shown += await self._kept(server, kind, {name: named[name] for name in changed})
        return shown

    async def approve(self, server: str, wanted: Sequence[Wanted], *, by: Principal, despite_flags: bool) -> None:
        """All of what was read, or nothing.

        Raises:
            InvalidCall: it is not (or no longer) what is held, or it is flagged and `despite_flags` is not set.

        """
        reviews = {(one.kind, one.name): one for one in await self.ledger.reviews(server)}
        for one in wanted:
            _check_decision(reviews.get((one.kind, one.name)), one, despite_flags=despite_flags)
        try:
            before = await self.ledger.approve(server, wanted, by=by.id)
        except Outdated as error:
            raise _changed_meanwhile(str(error)) from error
        for one, digest_before in zip(wanted, before, strict=True):
            self._notices.trust_decided(
                server, f"approved {one.kind} {one.name}", by=by.id, before=digest_before or "", after=one.digest
            )
        await self.watch()

    async def quarantine(self, server: str, reason: str, *, by: Principal) -> None:
        """At once here, within half a second on every other replica."""
        before = await self.ledger.quarantine(server, reason, by=by.id)
        self._notices.trust_decided(server, "quarantined", by=by.id, before=before, after=reason)
        await self.watch()

    async def release(self, server: str, *, by: Principal) -> None:
        before = await self.ledger.quarantine(server, None, by=by.id)
        if before:
            self._notices.trust_decided(server, "released", by=by.id, before=before, after="")
        await self.watch()

    async def forgotten(self, server: str) -> None:
        """Another server of this name begins anew, as the ledger has it; a quarantine stays, it is a decision about the
        name.
        """
        self._tools.pop(server, None)
        for key in [key for key in self.waiting if key[0] == server]:
            del self.waiting[key]
        await self.watch()

    def _named(self, kind: Kind, items: Sequence[Item]) -> dict[str, Item]:
        """By name; a second definition of one name is another tool in its clothes."""
        named: dict[str, Item] = {}
        for item in items:
            name = name_of(kind.value, item)
            usable = bool(name) and len(name) <= LONGEST_NAME and "\0" not in name and name not in named
            if not usable or len(named) >= MOST_PINNED or len(encoded(item)) > LARGEST:
                self.dropped += 1
                continue
            named[name] = item
        return named

    async def _flags(self, server: str, kind: Kind, item: Item) -> list[Flag]:
        foreign = frozenset[str]().union(*(names for name, names in self._tools.items() if name != server))
        own = self._tools.get(server, frozenset())
        # A hostile definition takes a third of a second to read; the others' calls go on meanwhile.
        return await asyncio.to_thread(inspect, kind.value, item, foreign=foreign, own=own)

    async def _record(
        self, server: str, kind: Kind, held: list[Sighting], trusted: list[Sighting], back: list[str]
    ) -> None:
        fresh = await self.ledger.record(server, kind.value, held=held, trusted=trusted, back=back)
        if trusted:
            self._notices.trust_decided(
                server, f"approved {len(trusted)} {kind.value} at first use", by="first use", before="", after=""
            )
        if fresh:
            approved = await self.ledger.approved(server, kind.value, [one.name for one in fresh])
            self._notices.definitions_held(server, fresh, changed=sorted(approved))
        with contextlib.suppress(StoreUnavailable):
            self._known = dict(await self.ledger.versions())  # our own writing is no news to us

    async def _kept(self, server: str, kind: Kind, changed: dict[str, Item]) -> list[Item]:
        """The approved words of changed definitions that can still be called by them."""
        approved = await self.ledger.approved(server, kind.value, list(changed))
        return [
            approved[name]
            for name, item in changed.items()
            if name in approved and not differs_in_use(approved[name], item) and not is_grave(inspect(kind.value, item))
        ]

    async def _unsuspicious(self, server: str, kind: Kind, items: Sequence[Item]) -> list[Item]:
        """Of resources that come and go: those without a flag. The others are held, so that somebody hears of them."""
        kept: list[Item] = []
        flagged: list[Sighting] = []
        for begin in range(0, len(items), SLICE):
            for item, found in await asyncio.to_thread(self._look, kind, items[begin : begin + SLICE]):
                if found is None:
                    kept.append(item)
                else:
                    flagged.append(found)
        if flagged:
            pins, _seen = await self.ledger.pins(server, kind.value)
            allowed = [one for one in flagged if (pin := pins.get(one.name)) and pin.approved == one.digest]
            kept += [one.item for one in allowed]
            news = [one for one in flagged[:MOST_PINNED] if one not in allowed]
            await self._record(server, kind, news, [], [])
        return kept

    def _look(self, kind: Kind, items: Sequence[Item]) -> list[tuple[Item, Sighting | None]]:
        """Each item, with a sighting when it is suspicious. Harmless ones are remembered by their digest."""
        looked: list[tuple[Item, Sighting | None]] = []
        for item in items:
            mark = digest(kind.value, item)
            if mark in self._harmless:
                looked.append((item, None))
                continue
            flags = inspect(kind.value, item)
            if is_grave(flags):
                name = name_of(kind.value, item)[:LONGEST_NAME].replace("\0", "") or "(no name)"
                looked.append((item, Sighting(kind.value, name, mark, item, flags)))
                continue
            if len(self._harmless) >= REMEMBERED:
                self._harmless.clear()
            self._harmless.add(mark)
            looked.append((item, None))
        return looked


def _check_decision(review: Review | None, wanted: Wanted, *, despite_flags: bool) -> None:
    if review is None:
        raise InvalidCall(
            Refusal.INVALID_REQUEST,
            f"Nothing named {wanted.name[:100]!r} is held. `ai-platform mcp approve NAME` shows what is.",
        )
    if review.digest != wanted.digest:
        raise _changed_meanwhile(wanted.name)
    if is_grave(review.flags) and not despite_flags:
        rules = ", ".join(sorted({flag.rule for flag in review.flags}))
        raise InvalidCall(
            Refusal.INVALID_REQUEST,
            f"{wanted.name[:100]!r} is flagged ({rules}). Read it; if it is right all the same, say so with"
            " --despite-flags (despite_flags: true).",
        )


def _changed_meanwhile(name: str) -> InvalidCall:
    return InvalidCall(
        Refusal.INVALID_REQUEST, f"The server changed {name[:100]!r} after you looked. Look again, then decide."
    )
