"""What the audit room raises beside domain errors."""

from ai_platform.domain.errors import AuditUnavailable


class TamperedLog(AuditUnavailable):
    """The stored log is not the one that was signed; nothing is appended to it. slot: which log."""

    def __init__(self, slot: int, problem: str) -> None:
        super().__init__(
            f"Audit log {slot} is not what was signed: {problem}. Nothing is written to it. Keep a copy of the database"
            " and of DATA/audit as evidence, run `ai-platform audit verify`, then start once with"
            " audit.start_new_log = true."
        )
        self.slot = slot
