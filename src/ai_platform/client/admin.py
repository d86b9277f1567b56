"""Talks to a running platform's admin API with the address and key found in the environment or the data folder.

The data folder holds `run.json` ({"url", "pid"}) while the platform runs and `admin.key` (mode 0600).
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2


class ClientError(Exception):
    """The platform could not be reached, or refused. `str(error)` says what to do."""


def default_data_dir() -> Path:
    """AI_PLATFORM_DATA, else /var/lib/ai-platform for root, else the XDG data folder of the user."""
    if configured := os.environ.get("AI_PLATFORM_DATA"):
        return Path(configured).expanduser().resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/ai-platform")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "ai-platform"


class AdminClient:
    """get/post/delete return decoded JSON; lines() streams JSON lines. Use as a context manager.

    url, key: override AI_PLATFORM_URL and AI_PLATFORM_ADMIN_KEY, which override the data folder's files.
    AI_PLATFORM_TENANT: who runs the platform works inside this tenant.
    """

    def __init__(self, data: Path | None = None, *, url: str | None = None, key: str | None = None) -> None:
        folder = data or default_data_dir()
        self.url = (url or os.environ.get("AI_PLATFORM_URL") or _running(folder)).rstrip("/")
        self.key = key or os.environ.get("AI_PLATFORM_ADMIN_KEY") or _admin_key(folder)
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.key}", **_tenant()},
            timeout=60,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", path, params=_present(params))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._call("POST", path, json=body or {})

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def lines(self, path: str, **params: Any) -> Iterator[str]:
        """The lines of a streamed answer, as they come."""
        try:
            with self._http.stream("GET", path, params=_present(params), timeout=None) as response:
                if response.status_code >= 400:
                    response.read()
                    raise ClientError(_message(response))
                yield from _lines(response.iter_bytes())
        except httpx2.TransportError as error:
            raise ClientError(self._unreachable(error)) from error

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise ClientError(self._unreachable(error)) from error
        if response.status_code >= 400:
            raise ClientError(_message(response))
        return response.json() if response.content else None

    def _unreachable(self, error: httpx2.TransportError) -> str:
        return f"No platform answers at {self.url} ({error}). Start it with `ai-platform up`, or set AI_PLATFORM_URL."


def _tenant() -> dict[str, str]:
    tenant = os.environ.get("AI_PLATFORM_TENANT", "")
    return {"x-ai-platform-tenant": tenant} if tenant else {}


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Split at line feeds only: JSON strings may hold U+2028 and others that text tools take for line ends."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines)
    if rest:
        yield rest.decode()


def _present(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _running(folder: Path) -> str:
    try:
        return str(json.loads((folder / "run.json").read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError) as error:
        raise ClientError(
            f"No running platform found in {folder}. Start it with `ai-platform up`, name its data folder with"
            " --data or AI_PLATFORM_DATA, or set AI_PLATFORM_URL and AI_PLATFORM_ADMIN_KEY."
        ) from error


def _admin_key(folder: Path) -> str:
    try:
        return (folder / "admin.key").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ClientError(f"No admin key in {folder} ({error}). Set AI_PLATFORM_ADMIN_KEY.") from error


def _message(response: httpx2.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The platform answered {response.status_code}: {response.text[:300]}"
