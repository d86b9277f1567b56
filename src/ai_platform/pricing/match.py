"""Which entries of a price file hold where and when."""

import datetime as dt
from fnmatch import fnmatchcase
from typing import Protocol

from ai_platform.pricing.schema import Row

_DAY = 86_400
_EPOCH = dt.date(1970, 1, 1)
GLOBAL = ("", "global")


class _Dated(Protocol):
    @property
    def effective_from(self) -> dt.date | None: ...
    @property
    def until(self) -> dt.date | None: ...


class _Placed(Protocol):
    @property
    def platforms(self) -> tuple[str, ...]: ...
    @property
    def regions(self) -> tuple[str, ...]: ...


def midnight(day: dt.date) -> float:
    """The first second of a UTC day."""
    return float((day - _EPOCH).days * _DAY)


def fits_time(entry: _Dated, at: float) -> bool:
    if entry.effective_from and at < midnight(entry.effective_from):
        return False
    return entry.until is None or at < midnight(entry.until)


def fits_place(entry: _Placed, platform: str, region: str) -> bool:
    if entry.platforms and not any(fnmatchcase(platform, glob) for glob in entry.platforms):
        return False
    return not entry.regions or any(_fits_region(rule, region) for rule in entry.regions)


def _fits_region(rule: str, region: str) -> bool:
    is_global = region in GLOBAL
    if rule == "global":
        return is_global
    if rule == "regional":
        return not is_global
    return fnmatchcase(region, rule)


def fits_model(globs: tuple[str, ...], model: str) -> bool:
    return model in globs or any(fnmatchcase(model, glob) for glob in globs)


def specificity(row: Row, model: str) -> tuple[bool, int, bool, bool]:
    """Of rows that fit, the higher one wins: the exact id before a glob, a named platform or region before any."""
    literal = max((len(glob.rstrip("*")) for glob in row.models if fnmatchcase(model, glob)), default=0)
    return model in row.models, literal, bool(row.platforms), bool(row.regions)
