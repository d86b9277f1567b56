"""A person's own sign-in for programs: the device flow (RFC 8628) from the asking side, and the tokens it gave.

They lie in one file of mode 0600; a lock beside it keeps two commands from using the same refresh token.
Above: cli. Below: httpx2.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from ai_platform import __version__
from ai_platform.client.admin import ClientError
from ai_platform.client.files import locked, write_private_text

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
FRESH_SECONDS = 60.0
"""An access token with less time left is renewed before it is given away."""


def default_file() -> Path:
    """XDG_CONFIG_HOME, else ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "ai-platform" / "sign-in.json"


class SignIn:
    """show: called with the address and the code that a person needs. wait: sleeps so many seconds."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or default_file()

    def login(
        self, url: str, *, show: Callable[[dict[str, Any]], None], wait: Callable[[float], None] = time.sleep
    ) -> dict[str, Any]:
        """Sign in at this platform and keep the tokens; {url, email}.

        Raises:
            ClientError: refused, not approved in time, or nothing answers.

        """
        url = url.rstrip("/")
        started = self._post(f"{url}/oauth/device_authorization", {"surface": "ai_platform"})
        if "device_code" not in started:
            raise ClientError(f"Nobody can sign in at {url}: {started.get('error_description', 'no sign-in there')}")
        show(started)
        interval, deadline = float(started.get("interval", 5)), time.monotonic() + float(started["expires_in"])
        while time.monotonic() < deadline:
            wait(interval)
            form = {"grant_type": DEVICE_CODE, "device_code": str(started["device_code"])}
            answer = self._post(f"{url}/oauth/token", form)
            error = answer.get("error")
            if error is None:
                with locked(self._file):
                    self._keep(url, answer)
                return {"url": url, "email": answer.get("email")}
            if error == "slow_down":
                interval += 5
            elif error != "authorization_pending":
                told = {"access_denied": "It was not approved.", "expired_token": "It was not approved in time."}
                raise ClientError(told.get(str(error), f"The platform says {error}."))
        raise ClientError("It was not approved in time.")

    def token(self) -> tuple[str, str]:
        """(url, access token with at least a minute left). Raises ClientError: sign in first, or again."""
        with locked(self._file):
            kept = self._read()
            if kept["expires_at"] - time.time() < FRESH_SECONDS:
                form = {"grant_type": "refresh_token", "refresh_token": kept["refresh_token"]}
                answer = self._post(f"{kept['url']}/oauth/token", form)
                if "access_token" not in answer:
                    raise ClientError(f"The sign-in at {kept['url']} has ended. Run `ai-platform login`.")
                kept = self._keep(kept["url"], answer)
            return kept["url"], kept["access_token"]

    def whoami(self) -> dict[str, Any]:
        """Who the platform takes the holder of the tokens for."""
        url, token = self.token()
        answer = self._ask("GET", f"{url}/admin/whoami", headers={"authorization": f"Bearer {token}"})
        if answer.status_code != 200:
            raise ClientError(
                f"The platform does not take the sign-in ({answer.status_code}). Run `ai-platform login`."
            )
        return {**answer.json(), "url": url}

    def logout(self, *, everywhere: bool = False) -> str:
        """End the sign-in there and forget it here, also when nothing answers there. The platform's address.

        everywhere: every session and program of the person ends; then it must answer.

        Raises:
            ClientError: you are not signed in; or, with everywhere, nothing answers or the sign-in has ended already.

        """
        with locked(self._file):
            kept = self._read()
            if everywhere:
                kept = self._end_everywhere(kept)
            self._file.unlink()
        with contextlib.suppress(ClientError):
            self._ask("POST", f"{kept['url']}/oauth/revoke", data={"token": kept["refresh_token"]})
        return str(kept["url"])

    def _end_everywhere(self, kept: dict[str, Any]) -> dict[str, Any]:
        """With a refresh token that is good now: the answer to a dead one would not tell."""
        form = {"grant_type": "refresh_token", "refresh_token": kept["refresh_token"]}
        answer = self._post(f"{kept['url']}/oauth/token", form)
        if "access_token" not in answer:
            raise ClientError(f"The sign-in at {kept['url']} has ended. Run `ai-platform login`, then this again.")
        kept = self._keep(kept["url"], answer)
        self._ask("POST", f"{kept['url']}/oauth/revoke", data={"token": kept["refresh_token"], "everywhere": "true"})
        return kept

    def _post(self, url: str, form: dict[str, str]) -> dict[str, Any]:
        answer = self._ask("POST", url, data=form)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or answer.status_code >= 500:
            raise ClientError(f"{url} answered {answer.status_code}. Is that an ai-platform with sign-in?")
        return body

    def _ask(self, method: str, url: str, **options: Any) -> httpx2.Response:
        headers = {"user-agent": f"ai-platform/{__version__}", **options.pop("headers", {})}
        try:
            return httpx2.request(method, url, headers=headers, timeout=30, trust_env=False, **options)
        except (httpx2.TransportError, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise ClientError(f"No platform answers at {url} ({error}).") from error

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClientError("You are not signed in. Run `ai-platform login`.") from error

    def _keep(self, url: str, answer: dict[str, Any]) -> dict[str, Any]:
        kept = {
            "url": url,
            "email": answer.get("email"),
            "access_token": answer["access_token"],
            "refresh_token": answer["refresh_token"],
            "expires_at": time.time() + float(answer["expires_in"]),
        }
        write_private_text(self._file, json.dumps(kept))
        return kept
