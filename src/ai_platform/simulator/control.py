"""The control routes under /_sim: faults, requests received, usage billed, reset. For loopback clients only.

A page in a browser cannot reach them by a name it controls: the Host header must be a loopback name too.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

import msgspec

from ai_platform.simulator.answers import Answer, json_payload
from ai_platform.simulator.asgi import Request
from ai_platform.simulator.batches import BatchesApi
from ai_platform.simulator.cache import PromptCache
from ai_platform.simulator.errors import ApiError, invalid, not_found
from ai_platform.simulator.faults import Fault, Faults
from ai_platform.simulator.files import FilesApi
from ai_platform.simulator.journal import Journal
from ai_platform.simulator.ledger import Ledger

PREFIX = "/_sim"

_KNOWN = "Known routes: POST, GET, DELETE /_sim/faults; GET /_sim/requests; GET /_sim/usage; POST /_sim/reset"


def is_loopback(host: str) -> bool:
    """An address, or a Host header's name with or without port."""
    name = host.rpartition(":")[0] if host.count(":") == 1 or ("]" in host and not host.endswith("]")) else host
    name = name.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Control:
    def __init__(
        self,
        *,
        faults: Faults,
        journal: Journal,
        ledger: Ledger,
        cache: PromptCache,
        batches: BatchesApi,
        files: FilesApi,
    ) -> None:
        self._faults = faults
        self._journal = journal
        self._ledger = ledger
        self._cache = cache
        self._batches = batches
        self._files = files

    def handle(self, request: Request, query: Mapping[str, str]) -> Answer:
        """Raises ApiError: 403 not from loopback, 404 unknown route, 400 a fault that cannot be read."""
        host = (request.header(b"host") or b"").decode("latin-1")
        if not is_loopback(request.client_ip) or not is_loopback(host):
            raise ApiError(403, "The control routes of the simulated upstream answer to loopback clients only")
        match request.method, request.path.removeprefix(PREFIX):
            case "POST", "/faults":
                return json_payload({"queued": self._add_faults(request.body)})
            case "GET", "/faults":
                return json_payload({"waiting": self._faults.waiting(), "struck": self._faults.counts})
            case "DELETE", "/faults":
                self._faults.clear()
                return json_payload({"waiting": []})
            case "GET", "/requests":
                return json_payload({"requests": self._requests(query)})
            case "GET", "/usage":
                return json_payload(self._usage(query))
            case "POST", "/reset":
                return json_payload(self._reset())
            case _:
                raise not_found(
                    "Known: POST|GET|DELETE /_sim/faults, GET /_sim/requests, /_sim/usage, POST /_sim/reset"
                )

    def _add_faults(self, body: bytes) -> int:
        try:
            faults = msgspec.json.decode(body, type=list[Fault] | Fault)
        except msgspec.MsgspecError as error:
            raise invalid(f'A fault is an object (or a list of objects) such as {{"status": 529}}: {error}') from error
        found = faults if isinstance(faults, list) else [faults]
        self._faults.add(found)
        return len(found)

    def _requests(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        limit = query.get("limit", "100")
        return self._journal.lines(
            limit=int(limit) if limit.isdigit() else 100,
            path=query.get("path", ""),
            with_body=query.get("body") == "1",
        )

    def _usage(self, query: Mapping[str, str]) -> dict[str, Any]:
        self._batches.settle()
        usage: dict[str, Any] = {"totals": self._ledger.totals()}
        if query.get("detail") == "1":
            usage["bills"] = self._ledger.bills()
        return usage

    def _reset(self) -> dict[str, bool]:
        for store in (self._faults, self._journal, self._ledger, self._cache, self._batches, self._files):
            store.clear()
        return {"reset": True}
