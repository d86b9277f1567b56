"""Accounts at MCP servers, attacked by another organisation's administrator and by a hostile server."""

import html
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from accounts_kit import Owner
from guarded_server import Guarded, guarded
from mcp_client import Tools, tools_site
from sso_site import requires_provider

pytestmark = [requires_provider]

SERVERS = """
    - {{name: hostile, url: "{hostile}", credentials: person, oauth: {{}}, first_use: true}}
    - {{name: honest, url: "{honest}", credentials: person, oauth: {{}}, first_use: true}}
    - {{name: ours, url: "{honest}", oauth: {{}}, first_use: true}}
"""
NEIGHBOURS = "        - {group: visitors, roles: [admin], tenant: acme}"


@pytest.fixture(scope="module")
def honest() -> Iterator[Guarded]:
    with guarded() as found:
        found.said["answer"] = {"iss": None}
        found.said["metadata"] = {"authorization_response_iss_parameter_supported": None}
        yield found


@pytest.fixture
def hostile(hostile_server: Guarded) -> Guarded:
    hostile_server.said.clear()
    hostile_server.requests.clear()
    hostile_server.said["metadata"] = {"authorization_response_iss_parameter_supported": None}
    return hostile_server


@pytest.fixture(scope="module")
def hostile_server() -> Iterator[Guarded]:
    with guarded() as found:
        yield found


@pytest.fixture(scope="module")
def here(honest: Guarded, hostile_server: Guarded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    servers = SERVERS.format(hostile=hostile_server.url, honest=honest.url)
    with tools_site(tmp_path_factory.mktemp("hostile"), servers=servers, provider_lines=NEIGHBOURS) as found:
        found.here.platform.run("tenants", "create", "acme")
        yield found


class TestAnotherOrganisation:
    def test_cannot_put_an_account_of_its_own_in_place_of_the_platforms(self, here: Tools):
        with Owner(here, "cy") as administrator:
            page = administrator.page()
            assert "hostile" in page.text, "there is a page for them"
            assert "ours" not in page.text
            refused = administrator.post("ours", "connect")
            assert (refused.status_code, "no MCP server" in refused.text) == (400, True)

    def test_cannot_disconnect_the_platforms(self, here: Tools):
        with Owner(here, "root") as root:
            root.connect("ours")
            with Owner(here, "cy") as administrator:
                administrator.post("ours", "disconnect")
            assert "Connected since" in root.page().text


class TestAHostileIssuer:
    """Mix-up (RFC 9700 section 4.4): it leads the browser on to another issuer, and waits for that one's code."""

    @pytest.mark.parametrize("answered_at", ["hostile", "honest"])
    def test_is_not_sent_the_code_of_another(self, here: Tools, hostile: Guarded, honest: Guarded, answered_at: str):
        with Owner(here, "ann") as ann:
            query = parse_qs(urlsplit(ann.leave("honest")).query)
            redirect_uri = query["redirect_uri"][0].replace("/honest", f"/{answered_at}")
            elsewhere = {"client_id": query["client_id"][0], "redirect_uri": redirect_uri, "resource": honest.url}
            hostile.said["leads_to"] = {"to": f"{honest.origin}/authorize", "query": elsewhere}
            page = ann.connect("hostile")
            assert page.status_code == 400, "nothing was connected"
            assert not [path for path, _ in hostile.requests if path == "/token"]

    def test_cannot_have_other_programs_on_this_machine_asked(self, here: Tools, hostile: Guarded, honest: Guarded):
        inside = honest.origin.replace("127.0.0.1", "localhost")
        hostile.said["resource"] = {"authorization_servers": [inside]}
        with Owner(here, "ben") as ben:
            page = ben.post("hostile", "connect")
        assert (page.status_code, "not an https address" in html.unescape(page.text)) == (400, True)


def test_what_the_platform_says_of_itself_names_one_address(here: Tools):
    said = httpx2.get(f"{here.url}/.well-known/ai-platform-mcp-client/honest", trust_env=False).json()
    assert said["client_id"] == f"{here.url}/.well-known/ai-platform-mcp-client/honest"
    assert said["redirect_uris"] == [f"{here.url}/auth/connections/callback/honest"]
    for name in ("", "../x", "A", "x/y", "x" * 5 + "%0a"):
        answer = httpx2.get(f"{here.url}/.well-known/ai-platform-mcp-client/{name}", trust_env=False)
        assert answer.status_code == 404
