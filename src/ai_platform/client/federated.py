"""A program's token of another issuer exchanged for one of the platform (RFC 8693), from the asking side.

The access token is kept in a file of mode 0600 until a minute before its end, so that a helper that runs for every
session does not exchange each time. Above: cli. Below: httpx2.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from ai_platform import __version__
from ai_platform.client.admin import ClientError
from ai_platform.client.files import locked, write_private_text

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
FRESH_SECONDS = 60.0
SECONDS = 30.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def default_folder(environ: Mapping[str, str]) -> Path:
    """RUNNER_TEMP of GitHub Actions, which a job's end empties; else XDG_CACHE_HOME, else ~/.cache."""
    base = environ.get("RUNNER_TEMP") or environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "ai-platform"


class Federated:
    """url: of the platform. audience: what the token is asked for; "" = the platform's address.

    token_file: holds the token; None = GitHub Actions is asked. resource: what the access token is for, "" = the API.
    """

    def __init__(
        self,
        url: str,
        *,
        environ: Mapping[str, str],
        audience: str = "",
        token_file: Path | None = None,
        resource: str = "",
        folder: Path | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._audience = audience or self._url
        self._token_file = token_file
        self._resource = resource
        self._environ = environ
        source = str(token_file) if token_file else environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
        name = hashlib.sha256(f"{self._url}\n{self._audience}\n{source}\n{resource}".encode()).hexdigest()[:24]
        self._kept = (folder or default_folder(environ)) / f"federated-{name}.json"

    def token(self) -> str:
        """An access token that is good for at least a minute. Raises ClientError."""
        with locked(self._kept):
            kept = self._read()
            if kept is not None:
                return kept
            answer = self._exchange(self._own_token())
            document = {"access_token": answer["access_token"], "expires_at": time.time() + float(answer["expires_in"])}
            write_private_text(self._kept, json.dumps(document))
            return str(answer["access_token"])

    def _read(self) -> str | None:
        try:
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            return str(kept["access_token"]) if kept["expires_at"] - time.time() > FRESH_SECONDS else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _own_token(self) -> str:
        if self._token_file is None:
            return self._from_github()
        try:
            text = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise ClientError(f"The token file {self._token_file} cannot be read ({error}).") from error
        if not text:
            raise ClientError(f"The token file {self._token_file} is empty.")
        return text

    def _from_github(self) -> str:
        """GitHub's "About security hardening with OpenID Connect": the runner's two variables and an audience."""
        url = self._environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
        bearer = self._environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
        if not url or not bearer:
            raise ClientError(
                "There is no token to exchange. In GitHub Actions give the job `permissions: {id-token: write}`;"
                " elsewhere name the file that holds the token with --token-file."
            )
        _check_safe(url)
        answer = _ask(
            "GET",
            str(httpx2.URL(url).copy_merge_params({"audience": self._audience})),
            headers={"authorization": f"Bearer {bearer}"},
            what="GitHub Actions",
            trust_env=True,  # runners stand behind proxies
        )
        value = answer[1].get("value")
        if answer[0] != 200 or not isinstance(value, str):
            raise ClientError(f"GitHub Actions gives no token ({answer[0]}). Has the job `id-token: write`?")
        return value

    def _exchange(self, token: str) -> dict[str, Any]:
        _check_safe(self._url)
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": JWT}
        if self._resource:
            form["resource"] = self._url + self._resource
        status, body = _ask(
            "POST", f"{self._url}/oauth/token", data=form, what=f"The platform at {self._url}", trust_env=False
        )
        if status != 200 or "access_token" not in body:
            why = str(body.get("error_description") or body.get("error") or "is there an ai-platform with federation?")
            raise ClientError(f"{self._url} gives no token ({status}): {why}")
        return body


def _check_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ClientError(f"{url} is not an https address; a token would be readable on the way.")


def _ask(method: str, url: str, *, what: str, trust_env: bool, **options: Any) -> tuple[int, dict[str, Any]]:
    headers = {"user-agent": f"ai-platform/{__version__}", "accept": "application/json", **options.pop("headers", {})}
    try:
        answer = httpx2.request(method, url, headers=headers, timeout=SECONDS, trust_env=trust_env, **options)
        body = answer.json() if answer.content else {}
    except (httpx2.TransportError, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise ClientError(f"{what} does not answer ({type(error).__name__}).") from error
    except ValueError as error:
        raise ClientError(f"{what} answered something that is not JSON.") from error
    return answer.status_code, body if isinstance(body, dict) else {}
