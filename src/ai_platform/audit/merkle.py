"""The Merkle tree of RFC 9162 section 2.1 (SHA-256): append at the right edge, inclusion and consistency proofs.

Pure functions over hashes; knows nothing of events or storage. Proofs are described first as the leaf ranges whose
hashes they consist of, so that a caller may fetch only those. Above: log, reader, verify. Below: hashlib.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Self

BLOCK = 256
"""Leaves under one stored subtree hash (a complete subtree of height 8)."""

_BLOCK_LEVEL = 8

Range = tuple[int, int]
"""Leaves lo <= i < hi."""


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: one hash for each complete subtree, largest first (at most 64).

    Two frontiers of the same leaves are equal; `root()` is the tree's head; appending costs two hashes on average.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Self:
        """What `to_bytes` gave. Raises ValueError when it cannot be the frontier of a tree of that size."""
        if len(data) != 32 * size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks of 32 bytes")
        return cls(size, (data[at : at + 32] for at in range(0, len(data), 32)))

    def to_bytes(self) -> bytes:
        return b"".join(self._peaks)

    def copy(self) -> Self:
        return type(self)(self.size, self._peaks)

    def append(self, node: bytes) -> bytes | None:
        """Add a leaf hash. Returns the hash of the block of 256 leaves that it completes, if it does."""
        carry = self.size
        level = 0
        block = None
        peaks = self._peaks
        while carry & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            carry >>= 1
            level += 1
            if level == _BLOCK_LEVEL:
                block = node
        peaks.append(node)
        self.size += 1
        return block

    def extend_leaves(self, leaves: Iterable[bytes]) -> None:
        """Append many leaves by their bytes, without the cost of a call each."""
        peaks = self._peaks
        size = self.size
        for data in leaves:
            node = sha256(b"\x00" + data).digest()
            carry = size
            while carry & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                carry >>= 1
            peaks.append(node)
            size += 1
        self.size = size

    def root(self) -> bytes:
        if not self._peaks:
            return sha256().digest()
        head = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            head = node_hash(peak, head)
        return head


def tree_hash(nodes: Iterable[bytes]) -> bytes:
    """MTH of leaf hashes; also of consecutive block hashes, the last of which may stand for fewer leaves."""
    frontier = Frontier()
    for node in nodes:
        frontier.append(node)
    return frontier.root()


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose hashes are the inclusion path of leaf `index`, leaf's sibling first (RFC 9162 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    ranges: list[Range] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return ranges[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """The ranges whose hashes prove that the tree of `first` leaves is a prefix of `second` (RFC 9162 2.1.4.1)."""
    if not 0 < first <= second:
        raise ValueError(f"no consistency proof from {first} to {second}")
    ranges: list[Range] = []
    low, high = 0, second
    whole = True
    while high != first:
        middle = low + _split(high - low)
        if first <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
            whole = False
    if not whole:
        ranges.append((low, high))
    return ranges[::-1]


def inclusion_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that `path` leads to from a leaf hash; None when the path has the wrong length (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    position, last = index, size - 1
    node = leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        position >>= 1
        last >>= 1
    return node if last == 0 else None


def consistent(first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the first tree is a prefix of the second (RFC 9162 2.1.4.2)."""
    if first == second:
        return not path and first_root == second_root
    if not 0 < first < second or not path:
        return False
    nodes = [first_root, *path] if first & (first - 1) == 0 else list(path)
    position, last = first - 1, second - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old = node_hash(node, old)
            new = node_hash(node, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, node)
        position >>= 1
        last >>= 1
    return old == first_root and new == second_root and last == 0


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)
