"""Accounts at MCP servers: each person's own, kept encrypted, renewed, and never anybody else's credential."""

import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from accounts_kit import Owner
from guarded_server import Guarded
from mcp_client import Tools, tools_site
from sso_site import fields_of, requires_provider

from platform_process import until

pytestmark = [requires_provider]


@pytest.fixture
def ann(owners: Callable[[str], Owner]) -> Owner:
    return owners("ann")


@pytest.fixture
def ben(owners: Callable[[str], Owner]) -> Owner:
    return owners("ben")


class TestConnecting:
    def test_who_has_no_account_is_told_where_to_connect_one(self, here: Tools, ann: Owner):
        assert ann.tools_of("mine") == ["connect_account"]
        said = ann.calls()
        assert f"{here.url}/auth/connections" in said
        assert "not connected yet" in said
        joined = here.rpc(ann.key, "tools/list").text
        assert "mine__connect_account" in joined
        assert f"{here.url}/auth/connections" in here.call(ann.key, "mine__connect_account")

    def test_by_a_sign_in_there_makes_calls_under_the_persons_own_account(self, ann: Owner):
        page = ann.connect()
        assert "Your account at mine is connected" in page.text
        assert ann.tools_of("mine") == ["whose"]
        assert ann.calls() == "ann-there"
        assert "Connected since" in ann.page().text

    def test_asks_with_everything_that_protects_the_code(self, there: Guarded, ann: Owner, here: Tools):
        ann.connect()
        query = next(query for path, query in reversed(there.requests) if path == "/authorize")
        assert (query["code_challenge_method"], query["resource"]) == ("S256", there.url)
        assert query["redirect_uri"] == f"{here.url}/auth/connections/callback/mine"
        assert query["scope"] == "read", "what the server's challenge says it needs, and not all that there is"
        assert len(query["state"]) >= 32

    def test_registers_once_for_all_people(self, there: Guarded, ann: Owner, ben: Owner):
        ann.connect()
        before = len(there.clients)
        there.account = "ben-there"
        ben.connect()
        assert len(there.clients) == before

    def test_is_each_persons_own(self, there: Guarded, ann: Owner, ben: Owner):
        ann.connect()
        assert "not connected yet" in ben.calls()
        there.account = "ben-there"
        ben.connect()
        assert [ann.calls(), ben.calls(), ann.calls()] == ["ann-there", "ben-there", "ann-there"]

    def test_by_a_token_that_was_entered(self, there: Guarded, ann: Owner):
        there.tokens["typed-token-of-ann"] = "ann-typed"
        page = ann.post("typed", "enter", token=" typed-token-of-ann ")
        assert page.status_code == 200
        assert ann.calls("typed") == "ann-typed"
        assert "typed-token-of-ann" not in ann.page().text

    def test_by_a_token_in_the_servers_own_header(self, there: Guarded, ann: Owner):
        there.tokens["key-of-ann"] = "ann-keyed"
        ann.post("keyed", "enter", token="key-of-ann")
        assert ann.calls("keyed") == "ann-keyed"
        assert there.headers[-1]["x-token"] == "key-of-ann"
        assert "authorization" not in there.headers[-1]

    def test_ends_when_it_is_disconnected(self, ann: Owner):
        ann.connect()
        assert ann.calls() == "ann-there"
        ann.post("mine", "disconnect")
        assert "not connected yet" in ann.calls()
        assert ann.tools_of("mine") == ["connect_account"]
        assert "Not connected." in ann.page().text

    def test_leaves_no_stream_open_when_it_is_disconnected(self, here: Tools, there: Guarded, ann: Owner):
        ann.connect()
        ann.calls()
        before = there.listening
        wanted = {"resourceSubscriptions": ["note://day"]}
        with here.streaming(ann.key, "subscriptions/listen", at="/mcp/mine", notifications=wanted):
            assert until(lambda: there.listening == before + 1)
            ann.post("mine", "disconnect")
            assert until(lambda: there.listening == before)

    def test_is_in_the_audit_log(self, here: Tools, ann: Owner):
        ann.connect()
        ann.post("mine", "disconnect")
        results = [event["result"] for event in here.here.events("server_account") if event.get("server") == "mine"]
        assert results[-2:] == ["connected", "disconnected"]


class TestThePlatformsOwn:
    def test_account_is_connected_by_an_administrator_and_used_for_everybody(
        self, here: Tools, there: Guarded, ann: Owner
    ):
        assert "ours" not in ann.page().text, "who does not manage servers is not offered it"
        refused = ann.post("ours", "connect")
        assert (refused.status_code, "no MCP server" in refused.text) == (400, True)
        there.account = "platform-there"
        with Owner(here, "root") as root:
            assert "platform's own account" in html.unescape(root.page().text)
            root.connect("ours")
        assert until(lambda: ann.tools_of("ours") == ["whose"])
        assert ann.calls("ours") == "platform-there"

    def test_token_of_a_machine_is_got_without_anybody(self, there: Guarded, ann: Owner):
        assert until(lambda: ann.tools_of("machine") == ["whose"])
        assert ann.calls("machine") == "machine"
        form = next(form for path, form in there.requests if form.get("grant_type") == "client_credentials")
        assert form["basic"].startswith("Basic ")
        assert form["resource"] == there.url


class TestRenewal:
    def test_happens_a_minute_before_the_end_and_once_for_many_calls(self, there: Guarded, ann: Owner):
        there.seconds = 30
        ann.connect()
        there.seconds = 3600
        before = len(there.requests)
        assert [ann.calls() for _ in range(3)] == ["ann-there"] * 3
        renewals = [form for path, form in there.requests[before:] if path == "/token"]
        assert [form["grant_type"] for form in renewals] == ["refresh_token"]
        assert renewals[0]["resource"] == there.url

    def test_happens_when_the_server_refuses_a_token_before_its_time(self, there: Guarded, ann: Owner):
        ann.connect()
        assert ann.calls() == "ann-there"
        there.tokens.clear()
        assert ann.calls() == "ann-there"

    def test_that_is_refused_asks_the_person_to_connect_again(self, there: Guarded, ann: Owner):
        there.seconds = 30
        ann.connect()
        there.refreshes.clear()
        assert "has ended there and must be connected again" in ann.calls()
        assert "it has ended there" in ann.page().text
        there.seconds = 3600
        ann.connect()
        assert ann.calls() == "ann-there"

    def test_that_cannot_be_had_now_is_tried_again_later(self, there: Guarded, ann: Owner):
        there.seconds = 30
        ann.connect()
        there.seconds = 3600
        there.said["token"] = (503, {})
        assert "ann-there" not in ann.calls()
        there.said.clear()
        assert until(lambda: ann.calls() == "ann-there", within=60)


@pytest.mark.requirement("MC-2")
class TestNothingIsPassedThrough:
    def test_the_callers_own_credential_never_reaches_a_server(self, here: Tools, there: Guarded, ann: Owner):
        ann.connect()
        token = ann.give_access()["access_token"]
        there.headers.clear()
        assert here.call(token, "mine__whose") == "ann-there"
        assert ann.calls() == "ann-there"
        sent = json.dumps(there.headers)
        for secret in (token, token.split(".")[2], ann.key, "cookie", "x-api-key"):
            assert secret not in sent
        assert there.headers

    def test_a_header_that_a_client_sends_does_not_replace_the_credential(self, there: Guarded, ann: Owner):
        there.tokens |= {"key-of-ann": "ann-keyed", "thief": "thief-there"}
        ann.post("keyed", "enter", token="key-of-ann")
        own = {"x-token": "thief", "x-forwarded-authorization": "Bearer thief"}
        assert ann.tools.call(ann.key, "whose", at="/mcp/keyed", own=own) == "ann-keyed"
        assert "thief" not in json.dumps(there.headers)

    def test_nothing_secret_is_logged_stored_in_clear_or_shown(self, here: Tools, there: Guarded, ann: Owner):
        ann.connect()
        ann.calls()
        there.tokens["typed-secret-token"] = "ann-typed"
        ann.post("typed", "enter", token="typed-secret-token")
        ann.calls("typed")
        secret_words = [*there.tokens, *there.refreshes, "secret-of-the-machine"]
        audit = here.here.platform.run("audit", "export")
        listed = here.here.platform.run("mcp", "credentials", "list", "--json")
        for secret in secret_words:
            assert secret not in here.here.log()
            assert secret not in audit
            assert secret not in listed
        data = Path(here.here.platform.data)
        for path in data.rglob("*"):
            if path.is_file() and path.suffix != ".key" and path.stat().st_size < 50_000_000:
                content = path.read_bytes()
                assert not [secret for secret in secret_words if secret.encode() in content], path


class TestCommands:
    def test_list_set_for_who_has_no_browser_and_remove(self, here: Tools, there: Guarded, ann: Owner):
        platform = here.here.platform
        key = platform.key("robot", "--service")
        there.tokens["token-of-robot"] = "robot-there"
        command = ("mcp", "credentials", "set", "typed", "--for", "robot")
        platform.run(*command, text="token-of-robot\n")
        assert here.call(key, "whose", at="/mcp/typed") == "robot-there"
        assert "token-of-robot" not in platform.run("audit", "export")
        ann.connect()
        rows = {(row["server"], row["person"]): row for row in platform.json("mcp", "credentials", "list")}
        assert rows["typed", "robot"]["kind"] == "token"
        assert rows["mine", "ann@example.com"]["issuer"] == there.origin
        assert "robot" in platform.run("mcp", "credentials", "list")
        platform.run("mcp", "credentials", "remove", "typed", "--for", "robot")
        assert "not connected yet" in here.call(key, "whose", at="/mcp/typed")
        platform.run("mcp", "credentials", "set", "typed", "--for", "nobody", text="x", code=1)
        platform.run("mcp", "credentials", "set", "mine", "--for", "robot", text="x", code=1)
        assert f"{here.url}/auth/connections" in platform.run("mcp", "credentials", "connect")


class TestAttacks:
    def test_an_answer_for_another_person_is_not_taken(self, ann: Owner, ben: Owner):
        """An attacker's own code, sent to the victim, would put the attacker's account under the victim's name."""
        ann.page()
        ben_leaves = ben.leave()
        back = httpx2.get(ben_leaves, follow_redirects=False, trust_env=False).headers["location"]
        page = ann.browser.get(back)
        assert page.status_code == 400
        assert "did not ask for it" in page.text
        assert "not connected yet" in ann.calls()

    def test_an_answer_with_the_cookie_of_another_sign_in_is_not_taken(self, ann: Owner, ben: Owner):
        back = httpx2.get(ann.leave(), follow_redirects=False, trust_env=False).headers["location"]
        for cookie in ann.browser.cookies.jar:
            if cookie.name.startswith("aip-connect-"):
                ben.page()
                ben.browser.cookies.set(cookie.name, str(cookie.value))
        page = ben.browser.get(back)
        assert (page.status_code, "somebody else" in page.text) == (400, True)
        assert "not connected yet" in ben.calls()

    @pytest.mark.parametrize(
        "answer",
        [
            {"state": "another"},
            {"iss": "https://other.example"},
            {"iss": None},
            {"code": None},
            {"error": "access_denied"},
            {"code": "made-up"},
        ],
    )
    def test_an_answer_that_is_not_right_connects_nothing(
        self, there: Guarded, ann: Owner, answer: dict[str, str | None]
    ):
        there.said["answer"] = answer
        assert ann.connect().status_code == 400
        assert "not connected yet" in ann.calls()

    def test_an_answer_is_good_once(self, ann: Owner):
        back = httpx2.get(ann.leave(), follow_redirects=False, trust_env=False).headers["location"]
        assert ann.browser.get(back).status_code == 200
        assert ann.browser.get(back).status_code == 400

    @pytest.mark.parametrize(
        ("where", "said", "why"),
        [
            ("resource", {"resource": "https://elsewhere.example/mcp"}, "is about"),
            ("resource", {"resource": "http://127.0.0.1"}, "is about"),
            ("resource", {"authorization_servers": ["http://169.254.169.254"]}, "not asked"),
            ("resource", {"authorization_servers": ["https://127.0.0.1:1/x"]}, "not asked"),
            ("resource", {"authorization_servers": ["file:///etc/passwd"]}, "not an https address"),
            ("metadata", {"issuer": "https://other.example"}, "of the issuer"),
            ("metadata", {"code_challenge_methods_supported": ["plain"]}, "PKCE"),
            ("metadata", {"code_challenge_methods_supported": None}, "PKCE"),
            ("metadata", {"token_endpoint": None}, "no token endpoint"),
            ("metadata", {"registration_endpoint": "http://10.0.0.1/register"}, "not asked"),
            ("metadata", {"registration_endpoint": None}, "lets nobody register"),
            ("metadata", {"authorization_endpoint": "javascript:alert(1)"}, "no https address"),
            ("metadata", {"authorization_endpoint": "http://evil.example/authorize"}, "no https address"),
        ],
    )
    def test_a_server_that_points_elsewhere_is_not_followed(
        self, fresh: Tools, there: Guarded, where: str, said: dict[str, Any], why: str
    ):
        there.said[where] = said
        with Owner(fresh, "ann") as ann:
            page = ann.post("mine", "connect")
        assert page.status_code == 400
        assert why in html.unescape(page.text)

    def test_a_code_is_not_sent_to_a_token_endpoint_inside(self, fresh: Tools, there: Guarded):
        there.said["metadata"] = {"token_endpoint": "http://169.254.169.254/token"}
        with Owner(fresh, "ann") as ann:
            page = ann.connect("known")
            assert page.status_code == 400
            assert "not asked" in html.unescape(page.text)

    @pytest.mark.parametrize("token", ["", "two\nlines", "ü", "x" * 9000, "a\r\nx-evil: 1"])
    def test_what_is_no_token_is_not_kept(self, ann: Owner, token: str):
        assert ann.post("typed", "enter", token=token).status_code == 400

    def test_forms_of_others_do_nothing(self, here: Tools, ann: Owner):
        ann.connect()
        csrf = fields_of(ann.page().text)["csrf"]
        address = f"{here.url}/auth/connections"
        form = {"server": "mine", "action": "disconnect"}
        assert ann.browser.post(address, data=form | {"csrf": "0" * 64}).status_code == 403
        elsewhere = {"sec-fetch-site": "cross-site"}
        assert ann.browser.post(address, data=form | {"csrf": csrf}, headers=elsewhere).status_code == 403
        assert ann.calls() == "ann-there"

    def test_an_account_cannot_be_taken_where_none_is_offered(self, ann: Owner):
        for server in ("echo", "machine", "nothing", "ours"):
            for action in ("connect", "enter"):
                assert ann.post(server, action, token="x").status_code == 400


@pytest.fixture(scope="module")
def fresh(guarded_server: Guarded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """A platform that registers for `mine` nowhere, because no test there gets that far."""
    line = '    - {{name: {name}, url: "{url}", credentials: person, oauth: {{}}, first_use: true}}\n'
    servers = "".join(line.format(name=name, url=guarded_server.url) for name in ("mine", "known"))
    with tools_site(tmp_path_factory.mktemp("fresh"), servers=servers) as found:
        yield found
