"""Servers and authorisation servers that mean harm: their words lead nowhere, what is another's never reaches them."""

import asyncio
import html
import json
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from accounts_kit import Owner
from guarded_server import Guarded
from mcp_client import Tools
from sso_site import requires_provider
from starlette.responses import RedirectResponse, Response, StreamingResponse

from ai_platform.mcp.needs import EnvironmentCredentials
from ai_platform.mcp.registry import read_server
from ai_platform.mcp.wire import client_for

pytestmark = [requires_provider]


@pytest.fixture
def ann(owners: Callable[[str], Owner]) -> Owner:
    return owners("ann")


@pytest.fixture
def ben(owners: Callable[[str], Owner]) -> Owner:
    return owners("ben")


def why_not(page: httpx2.Response) -> str:
    assert page.status_code == 400
    return html.unescape(page.text)


class TestMetadata:
    def test_that_redirects_is_not_followed(self, there: Guarded, ann: Owner):
        """Not to another page, and so not in a circle and not to an address inside."""
        before = len(there.requests)
        there.said["strange"] = lambda _: RedirectResponse(f"{there.origin}/inside")
        page = ann.post("mine", "connect")
        assert page.status_code == 200, "the server's own origin is the issuer where it has no metadata"
        assert "/inside" not in [path for path, _ in there.requests[before:]]

    def test_that_has_no_end_is_left(self, there: Guarded, ann: Owner):
        sent: list[int] = []

        async def endless() -> AsyncIterator[bytes]:
            while len(sent) < 1000:
                sent.append(65536)
                await asyncio.sleep(0)
                yield b" " * 65536

        there.said["strange"] = lambda _: StreamingResponse(endless(), media_type="application/json")
        assert "far too much" in why_not(ann.post("mine", "connect"))
        assert len(sent) < 1000

    @pytest.mark.parametrize("content", [b"[" * 200_000, b"{}", b"null", b'"x"', b"\xff\xfe", b"{"])
    def test_that_is_none_is_passed_over(self, there: Guarded, ann: Owner, content: bytes):
        there.said["strange"] = lambda _: Response(content, media_type="application/json")
        assert ann.post("mine", "connect").status_code == 200

    def test_of_one_server_does_not_speak_for_its_whole_host(self, there: Guarded, ann: Owner):
        """One of several servers of a host would have tokens sent to it that are good at all of them."""
        there.said["resource"] = {"resource": there.origin}
        assert "is about" in why_not(ann.post("mine", "connect"))

    def test_may_lead_a_person_to_no_script(self, there: Guarded, ann: Owner):
        for address in ("javascript:alert(1)", "data:text/html,x", 'https://x.example/"onmouseover="x'):
            there.said["metadata"] = {"authorization_endpoint": address}
            page = ann.post("mine", "connect")
            assert f'href="{address}' not in page.text
            assert 'onmouseover="x' not in page.text

    def test_with_words_that_are_markup_shows_them_as_words(self, there: Guarded, ann: Owner):
        there.said["metadata"] = {"issuer": "https://x.example/<img src=x onerror=alert(1)>"}
        page = ann.post("mine", "connect")
        assert "<img" not in page.text


class TestMixUp:
    def test_a_server_that_names_the_issuer_of_another_gets_no_token_for_it(
        self, there: Guarded, twin: Guarded, ann: Owner
    ):
        """The honest issuer would give a token; it is asked for the twin's address, and so for none of its own."""
        before = len(twin.headers)
        twin.said["resource"] = {"authorization_servers": [there.origin]}
        assert ann.connect("twin").status_code == 400
        assert [query["resource"] for path, query in there.requests if path == "/authorize"][-1] == twin.url
        assert not [field for field in twin.headers[before:] if field.get("authorization")]

    def test_a_server_that_says_it_is_another_is_not_believed(self, there: Guarded, twin: Guarded, ann: Owner):
        twin.said["resource"] = {"resource": there.url, "authorization_servers": [there.origin]}
        assert "is about" in why_not(ann.post("twin", "connect"))

    def test_an_issuer_that_says_it_is_another_is_not_believed(self, there: Guarded, twin: Guarded, ann: Owner):
        twin.said["metadata"] = {"issuer": there.origin, "token_endpoint": f"{twin.origin}/token"}
        assert "of the issuer" in why_not(ann.post("twin", "connect"))

    def test_a_code_of_one_issuer_is_not_taken_to_another(self, there: Guarded, twin: Guarded, ann: Owner):
        """The twin leads on to the honest server's sign-in: its code comes back with that issuer's name."""
        twin.said["metadata"] = {"authorization_endpoint": f"{there.origin}/authorize"}
        before = len(twin.requests)
        address = ann.leave("twin")
        there.clients |= twin.clients  # the twin registered itself there, in this platform's name
        assert "Another authorisation server" in why_not(ann.browser.get(address))
        assert "/token" not in [path for path, _ in twin.requests[before:]]


class TestTokens:
    def test_of_one_server_never_go_to_another(self, there: Guarded, twin: Guarded, ann: Owner):
        ann.connect("mine")
        twin.account = "ann-at-the-twin"
        ann.connect("twin")
        assert [ann.calls("mine"), ann.calls("twin"), ann.calls("mine")] == [
            "ann-there",
            "ann-at-the-twin",
            "ann-there",
        ]
        assert not [token for token in there.tokens if token in json.dumps(twin.headers)]
        assert not [token for token in twin.tokens if token in json.dumps(there.headers)]

    def test_of_a_server_are_none_of_the_platforms(self, here: Tools, there: Guarded, ann: Owner):
        ann.connect("mine")
        for token in there.tokens:
            assert here.rpc(token, "tools/list").status_code == 401

    def test_that_are_no_bearer_tokens_are_not_kept(self, there: Guarded, ann: Owner):
        for answer in (
            {"access_token": "x\r\nx-evil: 1", "token_type": "Bearer"},
            {"access_token": "x" * 20_000, "token_type": "Bearer"},
            {"access_token": "x", "token_type": "mac"},
            {"access_token": ["x"], "token_type": "Bearer"},
            {"token_type": "Bearer"},
        ):
            there.said["token"] = (200, answer)
            assert "no bearer token" in why_not(ann.connect("mine"))
        there.said.clear()
        assert "not connected yet" in ann.calls("mine")

    def test_an_issuers_words_about_a_failure_are_not_shown(self, there: Guarded, ann: Owner, here: Tools):
        """They may repeat what was sent: the code, the secret."""
        there.said["token"] = (400, {"error": "invalid_grant", "error_description": "your secret is tr0ub4dor"})
        page = why_not(ann.connect("mine"))
        assert "invalid_grant" in page
        assert "tr0ub4dor" not in page + here.here.log()

    def test_end_at_their_issuer_too_when_the_account_is_disconnected(self, there: Guarded, ann: Owner):
        ann.connect("mine")
        refresh = list(there.refreshes)[-1]
        ann.post("mine", "disconnect")
        forms = [form for path, form in there.requests if path == "/revoke"]
        assert forms[-1]["token"] == refresh
        assert refresh not in there.refreshes


class TestStepUp:
    def test_a_call_that_needs_more_says_so_and_the_next_agreement_asks_for_it(self, there: Guarded, ann: Owner):
        ann.connect("mine")
        assert ann.calls("mine") == "ann-there"
        there.said["needed"] = "write"
        said = ann.calls("mine")
        assert "may not do this yet: it needs write" in said
        assert "/auth/connections" in said
        assert "a tool needs more (write)" in ann.page().text
        assert ann.tools_of("mine") == ["whose"], "what it may do works on"
        ann.connect("mine")
        query = next(query for path, query in reversed(there.requests) if path == "/authorize")
        assert query["scope"] == "read write"
        assert ann.calls("mine") == "ann-there"
        assert "needs more" not in ann.page().text

    def test_a_refusal_about_something_else_asks_for_nothing(self, there: Guarded, ann: Owner):
        ann.connect("mine")
        there.said |= {"needed": "write", "error": "access_denied"}
        ann.calls("mine")
        assert "needs more" not in ann.page().text


@pytest.mark.anyio
async def test_a_server_that_leads_elsewhere_takes_no_credential_along(twin: Guarded):
    server = read_server({"name": "wiki", "url": "http://127.0.0.1:9/mcp", "headers_env": {"authorization": "KEY"}})
    credentials = EnvironmentCredentials((server,), {"KEY": "Bearer secret"})
    before = len(twin.headers)
    async with client_for(server, credentials, None) as client:
        assert (await client.post(twin.url, json={})).status_code == 503
    assert len(twin.headers) == before
