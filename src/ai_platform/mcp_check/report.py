"""What was found, check by check."""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Check(msgspec.Struct, frozen=True):
    """group: `protocol`, `tools`, `security`, `conformance`. detail: what was seen, or why it was left out."""

    group: str
    name: str
    outcome: Outcome
    detail: str = ""


class Report:
    """target: what was tested, for people. about: the server's own name, version and protocol."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.about: dict[str, str] = {}
        self.checks: list[Check] = []

    def passed(self, group: str, name: str, detail: str = "") -> None:
        self.checks.append(Check(group, name, Outcome.PASSED, detail))

    def warning(self, group: str, name: str, detail: str) -> None:
        self.checks.append(Check(group, name, Outcome.WARNING, detail))

    def failed(self, group: str, name: str, detail: str) -> None:
        self.checks.append(Check(group, name, Outcome.FAILED, detail))

    def skipped(self, group: str, name: str, detail: str) -> None:
        self.checks.append(Check(group, name, Outcome.SKIPPED, detail))

    def is_good(self, *, strict: bool) -> bool:
        """Nothing failed; with `strict` nothing was warned of either."""
        bad = {Outcome.FAILED, Outcome.WARNING} if strict else {Outcome.FAILED}
        return not any(check.outcome in bad for check in self.checks)
