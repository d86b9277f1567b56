"""A writer process to be killed: appends as fast as it can and prints the id of each event that was acknowledged.

python audit_writer_program.py DSN DATA_FOLDER
"""

import asyncio
import itertools
import sys
from pathlib import Path

from audit_kit import PERSONAL, event

from ai_platform.audit import open_trail
from ai_platform.audit.settings import AuditSettings
from ai_platform.domain.event import EventType
from ai_platform.stores.postgres import connect_system
from ai_platform.stores.rows import Insert


async def main() -> None:
    database = await connect_system(sys.argv[1])
    trail = await open_trail(database, Path(sys.argv[2]), AuditSettings(name="test-platform", checkpoint_events=50))
    numbers = itertools.count()

    async def worker() -> None:
        for number in numbers:
            made = event(EventType.CHAT_REQUEST, call_id=f"call_{number}", personal=PERSONAL, number=number)
            await trail.append([made], [Insert("probe", ("id", "amount"), (made.id, number))])
            sys.stdout.write(f"{made.id}\n")
            sys.stdout.flush()

    await asyncio.gather(*(worker() for _ in range(20)))


asyncio.run(main())
