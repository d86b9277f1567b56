"""Settings of the protection room."""

from pathlib import Path

import msgspec


class NamesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Names of people, which a language model looks for in prose. Off unless a model is named.

    model: the folder of a spaCy model with an entity recogniser, which you bring (needs the extra `names`).
    most_characters: new prose that one call may bring; with more of it the call is refused (fail closed).
    """

    model: Path | None = None
    most_characters: int = 200_000


class ProtectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of inspection. What to look for and what to do about it is policy (`ProtectionPlan`), not a setting.

    time_budget: seconds one body may take to inspect; past it the call is refused (fail closed).
    slice_ms: the event loop gets control back at least this often while a body is inspected.
    memo_entries: literals whose result is remembered, per process.
    session_bytes: raw bodies kept to compare the next turn with, per process.
    vault_tokens, vault_hours: tokens that can be restored, per process, and for how long after they were last used.
    most_values: values that must not leave in one body; one with more of them is refused (fail closed). A body that is
    mostly values may hold two in five of that, or one in forty characters.
    seen_values: (person, value) pairs remembered as already blocked once, per process.
    """

    time_budget: float = 5.0
    slice_ms: float = 2.0
    memo_entries: int = 50_000
    session_bytes: int = 64 * 1024 * 1024
    most_values: int = 10_000
    seen_values: int = 100_000
    vault_tokens: int = 50_000
    vault_hours: float = 24.0
    names: NamesSettings = NamesSettings()
