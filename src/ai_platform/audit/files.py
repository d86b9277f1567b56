"""The newest checkpoint of each log as a file beside the keys, where whoever changes the database cannot reach it.

`DATA/audit/checkpoints/SLOT.note`, replaced whole. Saving it fails open (the database has it too) and is counted.
Above: trail, verify. Below: note.
"""

import asyncio
import os
from pathlib import Path

from ai_platform.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint


class CheckpointFiles:
    """saved, failed: counters. trusted: whose signatures count when a file is read."""

    def __init__(self, folder: Path, trusted: tuple[VerifierKey, ...]) -> None:
        self.saved = 0
        self.failed = 0
        self.last_error = ""
        self._folder = folder
        self._trusted = trusted
        self._waiting: dict[int, str] = {}
        self._writer: asyncio.Task[None] | None = None

    def path(self, slot: int) -> Path:
        return self._folder / f"{slot}.note"

    def slots(self) -> list[int]:
        """The logs that have a file."""
        return sorted(int(path.stem) for path in self._folder.glob("*.note") if path.stem.isdecimal())

    def newest(self, slot: int) -> Checkpoint | None:
        """What the file says, None when there is none.

        Raises:
            NoteError: the file is there but is no checkpoint that a trusted key signed.

        """
        try:
            note = self.path(slot).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise NoteError(str(error)) from error
        return open_checkpoint(note, self._trusted)

    def save(self, slot: int, note: str) -> None:
        """Write soon, off the event loop; of several notes only the newest is written."""
        self._waiting[slot] = note
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())

    async def close(self) -> None:
        if self._writer:
            await self._writer

    async def _write_all(self) -> None:
        while self._waiting:
            slot, note = self._waiting.popitem()
            try:
                await asyncio.to_thread(_replace, self.path(slot), note)
                self.saved += 1
            except OSError as error:
                self.failed += 1
                self.last_error = str(error)


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
