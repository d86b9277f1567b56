"""The tamper-evident, fail-closed record of everything that happens. No audit, no execution.

Events go into an append-only Merkle log (RFC 9162) in PostgreSQL with signed checkpoints (C2SP); personal fields are
encrypted per subject. docs/audit.md has the format. Above: gateway, bootstrap, entrypoints. Below: stores, domain.
"""

from ai_platform.audit.reader import AuditReader
from ai_platform.audit.trail import Trail, open_trail

__all__ = ["AuditReader", "Trail", "open_trail"]
