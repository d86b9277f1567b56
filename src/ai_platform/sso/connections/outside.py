"""Requests to MCP servers' authorisation servers, whose addresses come from the servers: input of strangers.

The server's own host (unless it must be public itself), and hosts that its settings list, may have private addresses;
every other must be public, over https, never by redirect. Above: discovery, client. Below: fetch.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ai_platform.domain.errors import UpstreamBroken
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.sso.fetch import Answered, Fetcher


class Outside:
    """For one server."""

    def __init__(self, server: McpServerSettings, *, seconds: float) -> None:
        parts = urlsplit(server.url)
        listed = server.oauth.hosts if server.oauth else ()
        self._scheme = parts.scheme
        own = [] if server.public_only else [parts.hostname or ""]
        self._known = {host.lower() for host in (*own, *listed)}
        self._name = server.name
        self._seconds = seconds

    async def get(self, url: str) -> Answered:
        """Raises UpstreamUnreachable, UpstreamBroken."""
        fetcher = self._fetcher(url)
        try:
            return await fetcher.get(url)
        finally:
            await fetcher.close()

    async def challenge(self, url: str) -> str:
        """`www-authenticate` of a request without a credential; "" without one. Raises as `get`."""
        fetcher = self._fetcher(url)
        try:
            return await fetcher.challenge(url)
        finally:
            await fetcher.close()

    async def post(self, url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None = None) -> Answered:
        """Raises as `get`."""
        fetcher = self._fetcher(url)
        try:
            return await fetcher.post(url, form, basic=basic)
        finally:
            await fetcher.close()

    async def post_json(self, url: str, document: Mapping[str, Any]) -> Answered:
        """Raises as `get`."""
        fetcher = self._fetcher(url)
        try:
            return await fetcher.post_json(url, msgspec.json.encode(document))
        finally:
            await fetcher.close()

    def _fetcher(self, url: str) -> Fetcher:
        parts = urlsplit(url)
        public = (parts.hostname or "").lower() not in self._known
        plain = parts.scheme == self._scheme and not public  # http means this machine: no stranger names a host there
        if not parts.hostname or not (parts.scheme == "https" or plain):
            raise UpstreamBroken(f"{url[:200]!r} is not asked: it is not an https address.", target=self._name)
        return Fetcher(
            f"{parts.scheme}://{parts.netloc}", (), seconds=self._seconds, name=self._name, public=public, what="server"
        )
