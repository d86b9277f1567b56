"""Settings of the simulated upstream. Every default suits tests: as fast as possible, any key, nothing on disk."""

import msgspec

MEGABYTE = 1024 * 1024


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the simulator behaves.

    events_per_second: pace of a streamed answer; 0 = as fast as the client reads.
    first_token_ms: wait before the first byte of an answer (the response headers included).
    events_per_write: how many events share one write. chunk_bytes: largest piece of a write, 0 = no limit.
    ping_seconds: silence inside a stream after which a `ping` event is sent.
    require_keys: the only keys accepted; empty = any non-empty key.
    signing_key: key of the thinking signatures; None = random per process.
    organization_id: what the `anthropic-organization-id` header of every answer says.
    record_dir: folder that receives one JSON file per request, bodies included; None = nothing is written.
    keep_bodies: GET /_sim/requests?body=1 can return bodies (bounded by journal_bytes).
    max_body_bytes, max_batch_bytes, max_file_bytes: request size limits; max_files_bytes: all stored files together.
    journal_size: how many of the latest requests are remembered. journal_bytes: how many bytes of their bodies.
    ledger_size: how many of the latest bills are remembered. cache_entries: how many prompt-cache entries.
    batch_seconds: how long a message batch stays `in_progress`.
    """

    events_per_second: float = 0.0
    first_token_ms: int = 0
    events_per_write: int = 1
    chunk_bytes: int = 0
    ping_seconds: float = 15.0
    require_keys: tuple[str, ...] = ()
    signing_key: bytes | None = None
    organization_id: str = "51a0de00-0000-4000-8000-000000000000"
    record_dir: str | None = None
    keep_bodies: bool = False
    journal_size: int = 1000
    journal_bytes: int = 64 * MEGABYTE
    ledger_size: int = 20_000
    cache_entries: int = 50_000
    max_body_bytes: int = 32 * MEGABYTE
    max_batch_bytes: int = 256 * MEGABYTE
    max_file_bytes: int = 32 * MEGABYTE
    max_files_bytes: int = 256 * MEGABYTE
    batch_seconds: float = 0.05
