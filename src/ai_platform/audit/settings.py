"""Settings of the audit room: how events are grouped, checkpointed, kept, encrypted and copied to a file."""

import msgspec

MISSION_SINK = "/var/log/claude/audit.jsonl"


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON Lines copy of every event, in clear, written after the event is durable.

    enabled: whether the copy is written.
    path: where; the folder must exist or be creatable.
    required: True makes an append fail (AuditUnavailable) when the line cannot be written and flushed to disk;
        False counts the lost line and goes on (the database stays the record).
    personal: False leaves out the personal fields. A copy in clear is outside erasure: rotate and expire it.
    rotate_bytes: size at which the file is renamed to `.1` (and `.1` to `.2` ...).
    keep: rotated files kept.
    queue_lines: lines that may wait for the disk.
    """

    enabled: bool = False
    path: str = MISSION_SINK
    required: bool = False
    personal: bool = True
    rotate_bytes: int = 100 * 1024 * 1024
    keep: int = 10
    queue_lines: int = 100_000


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All times are seconds.

    name: first part of every log's origin (`NAME/audit/SLOT`) and the name of the signing key; no space, no `+`.
    keys: folder of the key files; empty = `audit/keys` in the data folder. Replicas of one database share these files.
    checkpoint_events: a checkpoint is signed after so many events.
    checkpoint_seconds: or so long after the first event that no checkpoint covers yet.
    queue_events: events that may wait for a commit; more are refused.
    batch_events: events in one transaction.
    commit_timeout: for one transaction; then its outcome is looked up on a new connection.
    retry_seconds: between attempts to reach a lost PostgreSQL again; appends fail at once meanwhile.
    slot_wait: how long a start waits for a log that a dying process still holds before it opens a new one.
    recent_check: events before the newest checkpoint that a start verifies (all of them: `audit verify`).
    start_new_log: leave a damaged log as it is, sealed, and write to a new one. Off: a damaged log stops the platform.
    retention_days: event type -> days, where the built-in table is not wanted.
    tail_poll: between looks for new events while following.
    """

    name: str = "ai-platform"
    keys: str = ""
    checkpoint_events: int = 1000
    checkpoint_seconds: float = 30.0
    queue_events: int = 20_000
    batch_events: int = 1000
    commit_timeout: float = 5.0
    retry_seconds: float = 0.5
    slot_wait: float = 1.0
    recent_check: int = 50_000
    start_new_log: bool = False
    retention_days: dict[str, int] = {}
    tail_poll: float = 0.5
    sink: SinkSettings = SinkSettings()
