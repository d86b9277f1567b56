"""Runs the cases one after another against a gateway and adds the score up."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from ai_platform.conformance.case import Case, Lab, Mismatch, Target
from ai_platform.conformance.cases import CASES
from ai_platform.conformance.traffic import ordinary
from ai_platform.conformance.upstream import RecordingUpstream
from ai_platform.conformance.wire import WireError

Verdict = Literal["passed", "failed", "skipped"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One case's outcome. detail: what was seen instead (failed) or what was missing (skipped)."""

    id: str
    title: str
    why: str
    source: str
    weight: int
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """score: weight of the passed cases in percent of those that ran, rounded down. url: the gateway."""

    url: str
    score: int
    passed: int
    failed: int
    skipped: int
    cases: tuple[Result, ...]


async def run(
    target: Target,
    upstream: RecordingUpstream | None = None,
    *,
    only: Sequence[str] = (),
    progress: Callable[[Result], None] | None = None,
) -> Report:
    """Run the cases whose id matches one of `only` (globs; () = all); those whose needs are not met are skipped.

    upstream: the recording upstream the gateway was told to use; None = black box, fewer cases.
    """
    lab = Lab(target, upstream)
    results: list[Result] = []
    for case in CASES:
        if only and not any(fnmatchcase(case.id, pattern) for pattern in only):
            continue
        results.append(await _run(case, lab, has_upstream=upstream is not None))
        if progress is not None:
            progress(results[-1])
    return _report(target.url, results)


def recording_upstream(model: str) -> RecordingUpstream:
    """The upstream for `run`; start it with `listening()` and point the gateway at its `url`."""
    return RecordingUpstream(ordinary(model))


async def _run(case: Case, lab: Lab, *, has_upstream: bool) -> Result:
    given = {
        "upstream": has_upstream,
        "refused_text": bool(lab.target.refused_texts),
        "refused_model": bool(lab.target.refused_model),
    }
    missing = [need for need in case.needs if not given[need]]
    if missing:
        return _result(case, "skipped", f"needs {', '.join(missing)}", 0.0)
    started = time.monotonic()
    try:
        async with asyncio.timeout(3 * lab.target.seconds):
            await case.check(lab)
    except TimeoutError:
        return _result(case, "failed", f"no end within {3 * lab.target.seconds:g} s", started)
    except (Mismatch, WireError, OSError) as error:
        return _result(case, "failed", str(error) or type(error).__name__, started)
    return _result(case, "passed", "", started)


def _result(case: Case, verdict: Verdict, detail: str, started: float) -> Result:
    return Result(
        id=case.id,
        title=case.title,
        why=case.why,
        source=case.source,
        weight=case.weight,
        verdict=verdict,
        detail=detail,
        seconds=round(time.monotonic() - started, 3) if started else 0.0,
    )


def _report(url: str, results: Iterable[Result]) -> Report:
    cases = tuple(results)
    total = sum(case.weight for case in cases if case.verdict != "skipped")
    passed = sum(case.weight for case in cases if case.verdict == "passed")
    return Report(
        url=url,
        score=100 * passed // total if total else 0,
        passed=sum(case.verdict == "passed" for case in cases),
        failed=sum(case.verdict == "failed" for case in cases),
        skipped=sum(case.verdict == "skipped" for case in cases),
        cases=cases,
    )
