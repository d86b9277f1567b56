"""Material from GitHub: one fixed repository on one fixed host (docs.github.com/rest/pulls/pulls).

Nothing a caller sends reaches the address but a whole number, no redirect is followed, answers are bounded.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.prompts.material import MOST_FILES, Change, ChangedFile, Unfilled

MOST_BYTES = 32 << 20
_PER_PAGE = 100
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")


class _User(msgspec.Struct):
    login: str = "unknown"


class _Branch(msgspec.Struct):
    ref: str = ""


class _Pull(msgspec.Struct):
    number: int
    title: str
    base: _Branch
    head: _Branch
    user: _User | None = None
    body: str | None = None
    changed_files: int = 0


class _File(msgspec.Struct):
    filename: str
    status: str = "modified"
    additions: int = 0
    deletions: int = 0
    patch: str = ""


class _Number(msgspec.Struct):
    number: int


class GitHub:
    """api: `https://api.github.com`, or an own server's `https://HOST/api/v3`. token: empty for public repositories."""

    def __init__(self, repository: str, *, api: str, token: str) -> None:
        if not _NAME.fullmatch(repository) or ".." in repository:
            raise ConfigError(f"--github {repository}: OWNER/NAME is needed.")
        if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", api):
            raise ConfigError(f"--github-api {api}: an address such as https://api.github.com is needed.")
        if token and api.startswith("http://") and not _is_loopback(urlsplit(api).hostname or ""):
            raise ConfigError(f"--github-api {api}: https is needed, since the token is sent there.")
        self._root = f"{api.rstrip('/')}/repos/{repository}"
        self._headers = {
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
            "user-agent": "ai-platform",
            **({"authorization": f"Bearer {token}"} if token else {}),
        }

    async def change(self, number: int) -> Change:
        if number < 1:
            raise Unfilled("The number of a pull request is needed.")
        async with self.client() as http:
            pull = await self.get(http, f"/pulls/{number}", _Pull)
            files: list[_File] = []
            for page in range(1, MOST_FILES // _PER_PAGE + 1):
                got = await self.get(http, f"/pulls/{number}/files?per_page={_PER_PAGE}&page={page}", list[_File])
                files += got
                if len(got) < _PER_PAGE:
                    break
        return Change(
            name=f"pull request #{pull.number}",
            title=pull.title,
            author=pull.user.login if pull.user else "unknown",
            description=(pull.body or "").strip(),
            base=pull.base.ref,
            head=pull.head.ref,
            files=tuple(
                ChangedFile(file.filename, file.status, file.additions, file.deletions, file.patch) for file in files
            ),
            more_files=max(0, pull.changed_files - len(files)),
        )

    async def numbers(self) -> list[str]:
        async with self.client() as http:
            pulls = await self.get(http, f"/pulls?state=open&per_page={_PER_PAGE}", list[_Number])
        return [str(pull.number) for pull in pulls]

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(headers=self._headers, timeout=20, follow_redirects=False)

    async def get(self, http: httpx2.AsyncClient, path: str, kind: type[Any]) -> Any:
        """path: below the repository. Raises Unfilled."""
        data = bytearray()
        try:
            async with http.stream("GET", self._root + path) as answer:
                if not answer.is_success:
                    raise Unfilled(_complaint(answer.status_code, path))
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > MOST_BYTES:
                        raise Unfilled("GitHub's answer is too large.")
        except httpx2.HTTPError as error:
            raise Unfilled(f"GitHub cannot be reached: {type(error).__name__}.") from error
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unfilled("GitHub's answer cannot be understood.") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _complaint(status: int, path: str) -> str:
    what = path.partition("?")[0]
    if status in {401, 403}:
        return f"GitHub refused {what} ({status}): the token is missing, expired, rate-limited or may not read this."
    if status == 404:
        return f"GitHub knows no {what}, or the token may not see it."
    return f"GitHub answered {what} with status {status}."
