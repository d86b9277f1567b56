"""Ascending numbers of which a new body shares the beginning, and the end up to a constant: shared, never copied.

Above: body.py, sessions.py. Below: nothing.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import overload


class Offsets(Sequence[int]):
    """head: its own numbers. tail: those of a former body, each of which counts `shift` more here."""

    __slots__ = ("_head", "_shift", "_tail")

    def __init__(self, head: "array[int] | None" = None) -> None:
        self._head = array("q") if head is None else head
        self._tail = array("q")
        self._shift = 0

    def __len__(self) -> int:
        return len(self._head) + len(self._tail)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "array[int]": ...
    def __getitem__(self, index: int | slice) -> "int | array[int]":
        if isinstance(index, slice):
            return self.plain()[index]
        if index < 0:
            index += len(self)
        own = len(self._head)
        return self._head[index] if index < own else self._tail[index - own] + self._shift

    def plain(self) -> "array[int]":
        """All of them as one array (the own one when there is no tail: do not change it)."""
        if not self._tail:
            return self._head
        shift = self._shift
        return self._head + array("q", [number + shift for number in self._tail])

    def extend(self, numbers: Iterable[int]) -> None:
        self._head.extend(numbers)

    def pop(self) -> int:
        return self._head.pop()

    def first(self, count: int) -> "Offsets":
        """The first `count` of them, to be extended."""
        return Offsets(self._head[:count] if count <= len(self._head) else self.plain()[:count])

    def end_with(self, former: "Offsets", index: int, shift: int) -> None:
        """Continue with former[index:], each `shift` greater."""
        self._tail, self._shift = former.since(index)
        self._shift += shift

    def since(self, index: int) -> "tuple[array[int], int]":
        """(numbers from `index` on, what each counts more): the stored tail as it is when it reaches that far."""
        own = len(self._head)
        return (self._tail[index - own :], self._shift) if index >= own else (self.plain()[index:], 0)
