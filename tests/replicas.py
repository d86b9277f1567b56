"""Platforms as processes of their own, several on one database, and what tests of people and tenants do with them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from ai_platform.testing.postgres import FreshDatabase
from platform_process import PlatformProcess, running


@contextmanager
def replicas(folder: Path, fresh: FreshDatabase, count: int = 2, config: str = "") -> Iterator[list[PlatformProcess]]:
    """Platforms over one database, with the same secrets, as a deployment has them."""
    text = f"stores: {{owner_dsn: '{fresh.owner_dsn}', gateway_dsn: '{fresh.gateway_dsn}'}}\n{config}"
    with _one(folder, text, count) as found:
        yield found


@contextmanager
def _one(folder: Path, config: str, left: int, before: tuple[PlatformProcess, ...] = ()) -> Iterator[Any]:
    if left == 0:
        yield list(before)
        return
    data = folder / f"replica-{len(before)}"
    data.mkdir()
    (data / "ai-platform.yaml").write_text(config)
    if before:
        first = before[0].data
        for name in ("secret.key", "admin.key"):
            shutil.copy2(first / name, data / name)
        shutil.copytree(first / "audit" / "keys", data / "audit" / "keys")
        shutil.copy2(first / "audit" / "audit.pub", data / "audit" / "audit.pub")
    with running(data) as platform, _one(folder, config, left - 1, (*before, platform)) as found:
        yield found


class Admin:
    """The admin API of one platform with one key."""

    def __init__(self, platform: PlatformProcess, key: str | None = None, **headers: str) -> None:
        self._platform = platform
        self._key = key
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def call(self, method: str, path: str, body: Any = None, **params: str) -> httpx2.Response:
        with self._platform.http(self._key) as client:
            return client.request(method, path, json=body, params=params or None, headers=self._headers)

    def get(self, path: str, **params: str) -> Any:
        return self._good(self.call("GET", path, **params))

    def post(self, path: str, body: Any = None) -> Any:
        return self._good(self.call("POST", path, body or {}))

    def delete(self, path: str) -> Any:
        return self._good(self.call("DELETE", path))

    def _good(self, answer: httpx2.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json()


def message(platform: PlatformProcess, key: str, **fields: Any) -> httpx2.Response:
    body = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
    with platform.http(key) as client:
        return client.post("/v1/messages", json=body | fields)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
