"""Label values kept within bounds, so that no caller can make the metrics grow without end.

Not exact accounting: the ledger knows every person; a metric names only the biggest and folds the rest into `other`.
"""

import hashlib
from collections.abc import Callable

from ai_platform.telemetry.settings import UserLabel

OTHER = "other"
NONE = "none"

_BUCKETS = 64
_PROMOTE = 1.5
"""A newcomer takes a place in the top only with half as much again as the least there: places must not flicker."""


class Bounded:
    """The first `limit` values seen (that `known` accepts) stand for themselves, all others are `other`."""

    def __init__(self, limit: int, known: Callable[[str], bool] | None = None) -> None:
        self._limit = limit
        self._known = known
        self._seen: dict[str, str] = {}
        self.folded = 0

    def of(self, value: str | None) -> str:
        if not value:
            return NONE
        label = self._seen.get(value)
        if label is not None:
            return label
        if len(self._seen) < self._limit and (self._known is None or self._known(value)):
            self._seen[value] = value
            return value
        self.folded += 1
        return OTHER


class TopUsers:
    """Ids of the `limit` people who spend most, others `other`. `demoted`: called with an id that lost its place.

    A promotion starts a new series at zero and a demotion ends one: no series ever goes down.
    """

    def __init__(self, limit: int, demoted: Callable[[str], None]) -> None:
        self._limit = limit
        self._demoted = demoted
        self._top: dict[str, int] = {}
        self._rest: dict[str, int] = {}
        self._floor: int = 0
        self.folded = 0

    def of(self, person: str | None, micros: int) -> str:
        if not person:
            return NONE
        spent = self._top.get(person)
        if spent is not None:
            self._top[person] = spent + micros
            return person
        if len(self._top) < self._limit:
            self._top[person] = micros
            return person
        return self._outside(person, micros)

    def _outside(self, person: str, micros: int) -> str:
        spent = self._rest.get(person, 0) + micros
        if self._limit and spent > _PROMOTE * self._floor:
            least = min(self._top, key=self._top.__getitem__)
            self._floor = self._top[least]  # spending only grows, so a stale floor is only ever too low
            if spent > _PROMOTE * self._floor:
                self._rest.pop(person, None)
                self._rest[least] = self._top.pop(least)
                self._top[person] = spent
                self._demoted(least)
                return person
        self._rest[person] = spent
        if len(self._rest) > 100 * (self._limit + 1):
            self._forget_small_spenders()
        self.folded += 1
        return OTHER

    def _forget_small_spenders(self) -> None:
        ranked = sorted(self._rest, key=self._rest.__getitem__, reverse=True)
        for person in ranked[len(ranked) // 2 :]:
            del self._rest[person]


class UserLabels:
    """The `user` label in the configured form. key: keys the buckets, so that they cannot be computed outside."""

    def __init__(self, form: UserLabel, limit: int, key: bytes, demoted: Callable[[str], None]) -> None:
        self._form = form
        self._key = key
        self._top = TopUsers(limit, demoted)

    @property
    def folded(self) -> int:
        return self._top.folded

    def of(self, person: str | None, micros: int) -> str:
        match self._form:
            case UserLabel.TOP:
                return self._top.of(person, micros)
            case UserLabel.BUCKET:
                return NONE if not person else self._bucket(person)
            case UserLabel.NONE:
                return NONE

    def _bucket(self, person: str) -> str:
        digest = hashlib.blake2b(person.encode(), key=self._key, digest_size=2).digest()
        return f"b{int.from_bytes(digest) % _BUCKETS:02d}"
