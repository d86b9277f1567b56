"""The admin API of a simulated Zimbra, JSON form: the answers and faults that were read in zm-mailbox's sources.

Like the real one it makes a mailbox when GetMailboxRequest is asked of an account without one, so that a test notices.
"""

import json
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.simulator.asgi import SIMULATED, Receive, Scope, Send, read_body
from ai_platform.simulator.zimbra.site import SimulatedAccount, SimulatedSite

PATH = "/service/admin/soap"
MOST_BYTES = 1 << 20
Body = dict[str, Any]


class SoapFault(Exception):
    """code: such as account.NO_SUCH_ACCOUNT."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class AdminApi:
    """An ASGI 3 application. site: read and changed while it serves. changed: called after each request."""

    def __init__(self, site: SimulatedSite, clock: Clock, changed: Callable[[], None]) -> None:
        self.site = site
        self._clock = clock
        self._changed = changed
        self._tokens: dict[str, float] = {}
        self._requests: dict[str, Callable[[Body], Body]] = {
            "GetAccountRequest": self._get_account,
            "GetIndexStatsRequest": self._get_index_stats,
            "GetMailboxRequest": self._get_mailbox,
            "GetQuotaUsageRequest": self._get_quota_usage,
            "GetServiceStatusRequest": self._get_service_status,
            "SearchDirectoryRequest": self._search_directory,
        }

    def forget_tokens(self) -> None:
        """As after a restart."""
        self._tokens.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the simulated Zimbra speaks http only")
        if scope["method"] != "POST" or scope["path"] != PATH:
            await _send(send, 404, {"simulated": "This is a simulated Zimbra: POST /service/admin/soap."})
            return
        content = await read_body(receive, None, MOST_BYTES)
        try:
            name, body = self._answer(msgspec.json.decode(content))
            status, answer = 200, {name: {**body, "_jsns": "urn:zimbraAdmin"}}
        except SoapFault as fault:
            error = {"Code": fault.code, "Trace": "simulated", "_jsns": "urn:zimbra"}
            status, answer = 500, {"Fault": _fault(str(fault), error)}
        finally:
            self._changed()
        context = {"context": {"_jsns": "urn:zimbra"}}
        await _send(send, status, {"Header": context, "Body": answer, "_jsns": "urn:zimbraSoap"})

    def _answer(self, envelope: Body) -> tuple[str, Body]:
        ((request, body),) = envelope["Body"].items()
        context: Body = envelope.get("Header", {}).get("context", {})
        self.site.asked.append(request)
        if request == "AuthRequest":
            return "AuthResponse", self._auth(body)
        token = context.get("authToken", {}).get("_content", "")
        if not token:
            raise SoapFault("service.AUTH_REQUIRED", "no valid authtoken present")
        if self._clock.monotonic() >= self._tokens.get(token, 0.0):
            raise SoapFault("service.AUTH_EXPIRED", "auth credentials have expired")
        handler = self._requests.get(request)
        if handler is None:
            raise SoapFault("service.UNKNOWN_DOCUMENT", f"unknown document: {request}")
        return request.replace("Request", "Response"), handler(body)

    def _auth(self, body: Body) -> Body:
        if (body.get("name"), body.get("password")) != (self.site.administrator, self.site.password):
            raise SoapFault("account.AUTH_FAILED", f"authentication failed for [{body.get('name')}]")
        token = f"0_simulated_{secrets.token_hex(16)}"
        self._tokens[token] = self._clock.monotonic() + self.site.lifetime_ms / 1000
        return {"authToken": [{"_content": token}], "lifetime": self.site.lifetime_ms}

    def _get_account(self, body: Body) -> Body:
        one = self._account(body["account"]["_content"])
        known = {
            "zimbraAccountStatus": one.status,
            "zimbraMailStatus": one.mail_status,
            "zimbraMailHost": one.host,
            "zimbraLastLogonTimestamp": one.last_login,
            "zimbraQuotaWarnPercent": "90",
            "zimbraMailQuota": str(one.limit),
        }
        wanted = {name: known[name] for name in body["attrs"].split(",") if known.get(name)}
        return {"account": [{"name": one.name, "id": one.id, **self._attributes(wanted)}]}

    def _get_index_stats(self, body: Body) -> Body:
        one = self._account(body["mbox"]["id"])
        if not one.mailbox:
            raise SoapFault("service.FAILURE", f"system failure: mailbox not found for account {one.id}")
        return {}

    def _get_mailbox(self, body: Body) -> Body:
        one = self._account(body["mbox"]["id"])
        one.mailbox = True
        return {"mbox": [{"mbxid": 1, "s": one.used}]}

    def _get_quota_usage(self, body: Body) -> Body:
        domain = body.get("domain")
        if domain is not None and domain not in self.site.domains:
            raise SoapFault("account.NO_SUCH_DOMAIN", f"no such domain: {domain}")
        every = domain is not None and body.get("allServers") in {1, "1"}
        here = next(iter(self.site.services), "")
        found = [
            {"name": one.name, "id": one.id, "used": one.used if one.mailbox else 0, "limit": one.limit}
            for one in self.site.accounts
            if (every or one.host == here) and (domain is None or one.name.endswith(f"@{domain}"))
        ]
        return {"account": found, "more": False, "searchTotal": len(found)}

    def _get_service_status(self, _body: Body) -> Body:
        if not self.site.logger:
            raise SoapFault("service.FAILURE", "system failure: zimbraLogHostname is not configured")
        rows = [
            {"server": host, "service": name, "t": 1_700_000_000, "_content": "1" if runs else "0"}
            for host, services in self.site.services.items()
            for name, runs in services.items()
        ]
        return {"status": rows}

    def _search_directory(self, body: Body) -> Body:
        if body.get("types") != "domains":
            raise SoapFault("service.INVALID_REQUEST", "the simulated Zimbra looks up domains only")
        found = [
            {"name": name, "id": f"id-of-{name}", **self._attributes(_of_domain(status))}
            for name, status in self.site.domains.items()
        ]
        return {"domain": found, "more": False, "searchTotal": len(found)}

    def _account(self, name: str) -> SimulatedAccount:
        one = self.site.find(name)
        if one is None:
            raise SoapFault("account.NO_SUCH_ACCOUNT", f"no such account: {name}")
        return one

    def _attributes(self, known: dict[str, str]) -> Body:
        if self.site.listed_attributes:
            return {"a": [{"n": name, "_content": value} for name, value in known.items()]}
        return {"_attrs": known}


def _of_domain(status: str) -> dict[str, str]:
    kind = "alias" if status == "alias" else "local"
    return {"zimbraDomainStatus": "active" if kind == "alias" else status, "zimbraDomainType": kind}


def _fault(reason: str, error: Body) -> Body:
    return {"Code": {"Value": "soap:Sender"}, "Reason": {"Text": reason}, "Detail": {"Error": error}}


async def _send(send: Send, status: int, answer: Body) -> None:
    content = json.dumps(answer).encode()
    headers = [SIMULATED, (b"content-type", b"text/javascript; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
