"""What an inspection found and made of a body. Above: guard.py, gateway. Below: exchange.py."""

from dataclasses import dataclass

from ai_platform.domain.finding import Finding
from ai_platform.protection.exchange import Exchange
from ai_platform.stores.rows import Insert


@dataclass(frozen=True, slots=True)
class Inspection:
    """body: the bytes to send on, the same object when nothing changed. leaves: string literals looked at.

    new_incidents: critical findings whose value this person has not shown before (each becomes one incident).
    new_alerts: the same of findings whose action is `alert`.
    seconds: how long it took, from the first look to the last.
    exchange: the tokens of this call; hand it on to what watches the answer.
    """

    findings: tuple[Finding, ...]
    body: bytes
    bytes_checked: int
    leaves: int
    changed: bool = False
    new_incidents: tuple[Finding, ...] = ()
    new_alerts: tuple[Finding, ...] = ()
    bytes_unchecked: int = 0
    seconds: float = 0.0
    exchange: Exchange | None = None

    @property
    def restored(self) -> int:
        """How many tokens of an answer were replaced by the values they stand for."""
        return self.exchange.restored.total() if self.exchange is not None else 0

    @property
    def rows(self) -> tuple[Insert, ...]:
        """What is to be written with the events of the call, so that tokens can be restored after a restart."""
        return tuple(self.exchange.rows) if self.exchange is not None else ()
