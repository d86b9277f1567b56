"""Incremental inspection of one growing text: how much of it is final, and which edits it needs.

The result equals inspecting the whole text at once, for any split. A position is final when nothing that follows can
create or change a finding before it: no confirmation that began before it still reads (Probe.is_open), no trigger that
began before it is still incomplete (Unfinished), and no overlapping values are still undecided.
Above: stream.py. Below: scanner, unfinished.
"""

from copy import copy
from typing import Self

import msgspec

from ai_platform.domain.finding import Action, Direction, Finding
from ai_platform.protection.actions import REWRITING
from ai_platform.protection.engine import OVERLAP
from ai_platform.protection.exchange import Exchange
from ai_platform.protection.overlaps import clusters
from ai_platform.protection.probe import Probe
from ai_platform.protection.replace import replacement
from ai_platform.protection.rule import LOOK_BACK, Hit
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.tokens import TOKEN
from ai_platform.protection.view import View, is_plain, unfinished

_OTHERWISE = frozenset({Action.MASK, Action.TOKENISE})

Edit = tuple[int, int, str]
"""(start, end, new text) in offsets of the whole stream."""


class _Open(msgspec.Struct, gc=False):
    """A trigger whose confirmation may still read what comes. end: its end, in offsets of the whole stream."""

    probe: Probe
    width: int
    end: int
    rewrites: bool


class TextWatcher:
    """edits: ascending, of everything final. found: final findings that nobody has collected yet.

    final: see feed. settled: before it nothing more is found, not even what would only be recorded.
    joins: only values that one of the places in `edges` cuts in two are reported.

    feed/close return the offset before which the text is final: it may be passed on with its edits.
    """

    def __init__(
        self,
        scanner: Scanner,
        team: str | None,
        *,
        lead: str = "",
        exchange: Exchange | None = None,
        tool: str | None = None,
        signed: bool = False,
    ) -> None:
        """lead: text that stands before the stream and is not part of it (a JSON key); offsets start behind it.

        exchange: makes tokens, and puts values back for those that stand in the text. tool: whose arguments the text
        is part of. signed: it is thinking, where every change is a redaction and nothing is put back.
        """
        self.edits: list[Edit] = []
        self.found: list[Finding] = []
        self.edges: list[int] = []
        self.joins = False
        self.final = 0
        self.settled = 0
        self.led = bool(lead)
        self._scanner = scanner
        self._team = team
        self._changing, self._any = scanner.unfinished(Direction.OUTPUT, team)
        self._text = lead
        self._base = -len(lead)  # offset of _text[0] in the stream
        self._scanned = self._base
        self._decided = 0  # before it every value that changes the text has been reported
        self._open: list[_Open] = []
        self._hits: list[Hit] = []  # confirmed, not yet final; offsets of the stream
        self._end = 0
        self._exchange = exchange
        self._tool = tool
        self._signed = signed
        may = exchange is not None and not signed and (tool is None or exchange.restores_in(tool))
        self._restores = may and exchange is not None and exchange.holds

    def feed(self, text: str) -> int:
        self._text += text
        self._end += len(text)
        return self._advance(last=False)

    def close(self, *, tail: str = "") -> int:
        """tail: text that stands behind the stream and is not part of it (the closing quote)."""
        self._text += tail
        return self._advance(last=True)

    def fork(self) -> Self:
        """One that goes on from here by itself, for values across places yet to be named (`edges`)."""
        other = copy(self)
        other.edits, other.found, other.edges, other.joins = [], [], self.edges.copy(), True
        own = vars(other)
        own |= {"_open": self._open.copy(), "_hits": self._hits.copy(), "_restores": False}
        return other

    @property
    def last(self) -> str:
        """The last character."""
        return self._text[-1:]

    def _advance(self, *, last: bool) -> int:
        text = self._text
        view: View | None = None
        usable = text
        if not is_plain(text):
            kept = 0 if last else unfinished(text)
            usable = text[: len(text) - kept] if kept else text
            view = View(usable)
        shown = usable if view is None else view.text
        self._find_triggers(shown, view)
        if self._open:
            self._confirm(shown, view, last=last)
        if last:  # a value may reach into the tail (see `close`)
            limit = recorded = self._base + len(text)
        else:
            limit, recorded = (
                self._base + (begun if view is None else view.origin(begun))
                for begun in (self._changing.start(shown), self._any.start(shown))
            )
            for item in self._open:
                start = self._value_start(item, view)
                recorded = min(recorded, start)
                if item.rewrites:
                    limit = min(limit, start)
        if self._hits:
            limit = self._settle(limit, min(limit, recorded))
        if self._restores:
            limit = self._restore(limit)
        self.final = max(self.final, min(limit, self._end))
        self.settled = min(recorded, self.final)
        self._trim(self.settled)
        return self.final

    def _find_triggers(self, shown: str, view: View | None) -> None:
        scanned = self._scanned - self._base
        if view is not None:
            scanned = view.seen(scanned)
        begin = max(0, scanned - OVERLAP)
        engine = self._scanner.engine
        for number, end in engine.triggers(shown[begin:].encode("latin-1", "replace")):
            if begin + end <= scanned or (begin and end <= 1):
                continue
            width, probes = engine.dispatch[number]
            place = begin + end
            stop = self._base + (place if view is None else view.origin(place))
            for probe in probes:
                if self._scanner.looks_for(probe.rule):
                    rewrites = self._rewrites(probe)
                    self._open.append(_Open(probe, width, stop, rewrites))
        self._scanned = self._base + (len(shown) if view is None else view.origin(len(shown)))

    def _confirm(self, shown: str, view: View | None, *, last: bool) -> None:
        still: list[_Open] = []
        for item in self._open:
            end = item.end - self._base
            if view is not None:
                end = view.seen(end)
            probe = item.probe
            if not last and probe.is_open(shown, end - item.width, end):
                still.append(item)
                continue
            span = probe.locate(shown, end - item.width, end)
            if span is not None and self._scanner.accepts(probe.rule, shown, *span):
                start, stop = span if view is None else (view.origin(span[0]), view.origin(span[1]))
                if 0 <= self._base + start < self._end:  # else it begins in the lead or the tail
                    self._hits.append(Hit(self._base + start, self._base + stop, probe.rule))
        self._open = still

    def _value_start(self, item: _Open, view: View | None) -> int:
        end = item.end - self._base
        if view is not None:
            end = view.seen(end)
        start = max(0, (end if item.probe.at_end else end - item.width) - item.probe.lead)
        return self._base + (start if view is None else view.origin(start))

    def _rewrites(self, probe: Probe) -> bool:
        return self._scanner.action(probe.rule, Direction.OUTPUT, self._team) in REWRITING

    def _settle(self, limit: int, recorded: int) -> int:
        """Turn what is decided into edits and findings; returns the limit, moved before what is not."""
        scanner, team = self._scanner, self._team
        changing = [hit for hit in self._hits if scanner.action(hit.rule, Direction.OUTPUT, team) in REWRITING]
        done = max(self.final, self._decided)
        # What is noticed too late (no rule should be) takes nothing else along: what has not left yet is still taken out.
        undecided = [hit if hit.start >= done else Hit(done, hit.end, hit.rule) for hit in changing if hit.end > done]
        for hits in clusters(undecided):
            start, end = hits[0].start, max(hit.end for hit in hits)
            if end > limit:
                limit = min(limit, start)
                break
            for hit in scanner.settle(hits, Direction.OUTPUT, team):
                self._report(hit)
            self._decided = end
        recorded = min(recorded, limit)
        rest: list[Hit] = []
        for hits in clusters(self._hits):
            if max(hit.end for hit in hits) > recorded:
                rest += [hit for hit in self._hits if hit.start >= hits[0].start]
                break
            if len(hits) == 1 and hits[0] not in changing:
                self._report(hits[0])
                continue
            for hit in scanner.settle(hits, Direction.OUTPUT, team):
                if scanner.action(hit.rule, Direction.OUTPUT, team) not in REWRITING:
                    self._report(hit)
        self._hits = rest
        return limit

    def _restore(self, limit: int) -> int:
        """Put values back for tokens before `limit`; returns the limit, moved before a token it would cut."""
        assert self._exchange is not None
        found = False
        for match in TOKEN.finditer(self._text, max(0, self.final - self._base)):
            start, end = match.start() + self._base, match.end() + self._base
            if end > limit:
                limit = min(limit, max(start, self.final)) if start < limit else limit
                break
            if any(start < stop and begin < end for begin, stop, _ in self.edits):
                continue
            value = self._exchange.restore(match.group(), self._tool)
            if value is not None:
                self.edits.append((start, end, value))
                found = True
        if found:
            self.edits.sort()
        return limit

    def _report(self, hit: Hit) -> None:
        if self.joins and not any(hit.start < edge < hit.end for edge in self.edges):
            return
        end = min(hit.end, self._end)
        inner = Hit(hit.start - self._base, end - self._base, hit.rule)
        finding = self._scanner.finding(self._text, inner, Direction.OUTPUT, self._team)
        if self._signed and finding.action in _OTHERWISE:
            finding = msgspec.structs.replace(finding, action=Action.REDACT)
        mint = self._exchange.token if self._exchange is not None else None
        new = replacement(finding, self._text[inner.start : inner.end], mint)
        self.found.append(msgspec.structs.replace(finding, start=hit.start, end=end))
        if new is not None:
            self.edits.append((hit.start, end, new))

    def _trim(self, settled: int) -> None:
        """Forget what no rule can look back to any more."""
        for hit in self._hits:
            settled = min(settled, hit.start)
        for item in self._open:
            settled = min(settled, item.end - item.width - item.probe.lead)
        drop = settled - LOOK_BACK - self._base
        if drop <= LOOK_BACK:
            return
        while drop and self._text[drop - 1] in "\\%&":  # never cut an escape in two
            drop -= 1
        self._text = self._text[drop:]
        self._base += drop
