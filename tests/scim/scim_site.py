"""A platform that serves SCIM, and a client that speaks as an identity provider does."""

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from platform_process import PlatformProcess, running

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
CONFIG = "scim: {enabled: true}\n"


def scim_key(platform: PlatformProcess, name: str = "idp") -> str:
    return new_key(platform, name=name, kind="service", roles=["admin"], scopes=["scim"])


def new_key(platform: PlatformProcess, admin: str | None = None, **fields: Any) -> str:
    with platform.http(admin) as client:
        answer = client.post("/admin/keys", json=fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["key"])


def person(platform: PlatformProcess, who: str, action: str = "") -> dict[str, Any]:
    """As the admin API shows somebody. action: `suspend` or `resume` first."""
    with platform.http() as client:
        answer = client.post(f"/admin/people/{who}/{action}") if action else client.get(f"/admin/people/{who}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def site(folder: Path, config: str = CONFIG) -> Iterator[PlatformProcess]:
    data = folder / "data"
    data.mkdir()
    (data / "ai-platform.yaml").write_text(config)
    with running(data) as platform:
        yield platform


class Idp:
    """Sends SCIM requests with one key."""

    def __init__(self, platform: PlatformProcess, key: str) -> None:
        self.url = f"{platform.url}/scim/v2"
        self.key = key
        self._http = httpx2.Client(trust_env=False, timeout=30)
        weakref.finalize(self, self._http.close)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"authorization": f"Bearer {self.key}"} if self.key else {}
        if content is not None:
            fields["content-type"] = "application/scim+json"
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._http.request(method, f"{self.url}{path}", content=content, headers=fields)

    def find(self, path: str, **params: str) -> list[dict[str, Any]]:
        answer = self.ask(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json().get("Resources", [])

    def ask(self, path: str, **params: str) -> httpx2.Response:
        return self._http.get(f"{self.url}{path}", params=params, headers={"authorization": f"Bearer {self.key}"})

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.send("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def user(self, user_name: str, /, **more: Any) -> dict[str, Any]:
        return self.create("/Users", {"schemas": [USER], "userName": user_name, **more})

    def group(self, name: str, *members: str) -> dict[str, Any]:
        listed = [{"value": member} for member in members]
        return self.create("/Groups", {"schemas": [GROUP], "displayName": name, "members": listed})

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> httpx2.Response:
        return self.send("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()
