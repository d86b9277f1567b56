"""What the sign-in watch does for every store of this room now and then. Above: signon. Below: stores."""

from typing import Protocol

from ai_platform.stores.postgres import SystemDatabase


class Swept(Protocol):
    """Forgets what is long over."""

    async def sweep(self, system: SystemDatabase) -> None: ...
