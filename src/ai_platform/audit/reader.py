"""Reads the trail: search, follow, export, prove, verify. Never writes.

Personal fields come back in clear while the subject's key exists. Above: entrypoints, bootstrap.
Below: search, proof, verify, bundle.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from ai_platform.audit.bundle import bundle_lines
from ai_platform.audit.files import CheckpointFiles
from ai_platform.audit.keys import Keys, load_keys
from ai_platform.audit.proof import prove
from ai_platform.audit.search import Query, Search
from ai_platform.audit.settings import AuditSettings
from ai_platform.audit.subjects import SubjectKeys
from ai_platform.audit.verify import Progress, Report, verify
from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.stores.postgres import Database, SystemDatabase


class AuditReader:
    """`search`, `export` and `tail` show one tenant's events; the rest is about whole logs, for who runs the platform.

    Everything here raises StoreUnavailable when PostgreSQL does not answer. Lines end with a newline.
    """

    def __init__(
        self,
        database: Database,
        system: SystemDatabase,
        data: Path,
        settings: AuditSettings,
        *,
        keys: Keys,
        clock: Clock,
    ) -> None:
        self._system = system
        self._settings = settings
        self._keys = keys
        self._files = CheckpointFiles(data / "audit" / "checkpoints", keys.trusted)
        self._search = Search(database, system, SubjectKeys(system, keys.kek, keys.pepper, clock))

    @classmethod
    def open(
        cls,
        database: Database,
        system: SystemDatabase,
        data: Path,
        settings: AuditSettings | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """data: the data folder. Raises ConfigError when the key files cannot be used."""
        settings = settings or AuditSettings()
        return cls(database, system, data, settings, keys=load_keys(settings, data), clock=clock or SystemClock())

    async def search(self, query: Query) -> list[dict[str, Any]]:
        """At most `query.limit` events as flat objects (see docs/audit.md), in the order asked for."""
        return await self._search.page(query)

    def export(self, query: Query) -> AsyncIterator[bytes]:
        """All matching events as JSON lines, oldest first; `query.limit` is the most that are sent, 0 = all."""
        return self._search.lines(query)

    def tail(self, *, tenant: str | None, last: int = 10, follow: bool = False) -> AsyncIterator[bytes]:
        """The last events as JSON lines and, with follow, every later one as it is committed."""
        return self._search.tail(last, self._settings.tail_poll if follow else None, tenant=tenant)

    def stop_following(self) -> None:
        """End every `tail` that follows, so that a stopping server need not wait for its readers."""
        self._search.over.set()

    async def proof(self, event_id: str, *, tenant: str) -> dict[str, Any]:
        """The event's leaf, inclusion path and signed checkpoint, which together prove it without this platform.

        Raises:
            NotFound: this tenant has no such event.
            InvalidCall: no checkpoint covers it yet.
            AuditUnavailable: the stored log does not lead to its checkpoint: it was tampered with.

        """
        await self._search.check(event_id, tenant)
        return await prove(self._system, self._keys, event_id, self._settings.checkpoint_seconds)

    def verify(self) -> AsyncIterator[Progress | Report]:
        """Every log from its first leaf; progress now and then, the report last."""
        return verify(self._system, self._keys, self._files)

    def bundle(self) -> AsyncIterator[bytes]:
        """Leaves, checkpoints, manifest and key for the stand-alone verifier; `bundle.unpack` makes the folder."""
        return bundle_lines(self._system, self._keys)

    def public_key(self) -> str:
        """`audit.pub`: one verifier key a line."""
        return "".join(f"{key}\n" for key in self._keys.trusted)
