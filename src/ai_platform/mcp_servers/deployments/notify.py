"""Tells the team's channel about outcomes by one POST. Fails open: a deployment does not depend on the chat."""

import asyncio

import httpx2
import msgspec


class Notifier:
    """say() returns at once. url: empty = nobody is told. delivered, failed: counters. Redirects are not followed."""

    def __init__(self, url: str, channel: str, *, timeout: float = 5.0) -> None:
        self._url = url
        self._channel = channel
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self.delivered = 0
        self.failed = 0

    def say(self, text: str) -> None:
        if self._url:
            task = asyncio.create_task(self._post(text))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Waits for what is under way, a few seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timeout)

    async def _post(self, text: str) -> None:
        body = msgspec.json.encode({"channel": self._channel, "text": text})
        try:
            async with httpx2.AsyncClient(timeout=self._timeout, follow_redirects=False, trust_env=False) as http:
                answer = await http.post(self._url, content=body, headers={"content-type": "application/json"})
        except httpx2.HTTPError:
            self.failed += 1
            return
        if answer.is_success:
            self.delivered += 1
        else:
            self.failed += 1
