"""A text that streams in and its events that are not yet passed on.

Above: stream.py, joining.py. Below: watcher.py, watcher_json.py, sse.py.
"""

from bisect import bisect_left
from collections import deque
from operator import itemgetter

import msgspec

from ai_platform.protection import sse
from ai_platform.protection.watcher import Edit, TextWatcher
from ai_platform.protection.watcher_json import JsonWatcher


class Held(msgspec.Struct, gc=False):
    """An event whose text stands at [start, end) of its block, in the member `name` of `inside`; or, without a name,
    one that only keeps its place.
    """

    event: bytes
    start: int
    end: int
    name: str = ""
    text: str = ""
    inside: str = "delta"


class Block:
    """One text that streams in: its watcher, the events not yet passed on, and the edits that still concern them.

    original, signature: of a thinking block. base: how much text of the answer stands before it (joining.py).
    """

    __slots__ = ("base", "changed", "edits", "held", "original", "path", "position", "signature", "signed", "watcher")

    def __init__(self, watcher: TextWatcher | JsonWatcher, path: str, *, signed: bool) -> None:
        self.watcher = watcher
        self.path = path
        self.signed = signed
        self.held: deque[Held] = deque()
        self.edits: deque[Edit] = deque()
        self.position = 0
        self.base = 0
        self.changed = False
        self.original: list[str] = []
        self.signature = ""

    def changes(self, start: int, end: int) -> bool:
        """Does an edit touch [start, end)?"""
        return any(begin < end and start < stop for begin, stop, _ in self.edits)

    def change(self, edit: Edit) -> None:
        self.edits.insert(bisect_left(self.edits, edit[0], key=itemgetter(0)), edit)

    def stay(self, event: bytes) -> None:
        """The event goes out behind those that are held."""
        self.held.append(Held(event, self.position, self.position))

    def release(self, safe: int) -> bytes:
        """The events whose text ends at or before `safe`, with the edits that touch it."""
        held, edits = self.held, self.edits
        out: list[bytes] = []
        while held and held[0].end <= safe:
            item = held.popleft()
            while edits and edits[0][1] <= item.start:
                edits.popleft()
            if item.name and edits and edits[0][0] < item.end:
                self.changed = True
                out.append(_rewritten(item, edits))
            else:
                out.append(item.event)
        return b"".join(out)


def _rewritten(item: Held, edits: deque[Edit]) -> bytes:
    """The event with the edits that touch its text applied; a replacement stands where its value began."""
    pieces: list[str] = []
    position = item.start
    for begin, stop, new in edits:
        if begin >= item.end:
            break
        pieces.append(item.text[position - item.start : max(begin, position) - item.start])
        if begin >= item.start:
            pieces.append(new)
        position = max(position, min(stop, item.end))
    pieces.append(item.text[position - item.start :])
    document = sse.read(sse.data_of(item.event))
    if document is None:
        return b""  # nobody can read it, and it holds what must not leave
    document[item.inside][item.name] = "".join(pieces)
    return sse.with_data(item.event, sse.written(document))
