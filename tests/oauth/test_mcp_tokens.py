"""Tokens for MCP clients: from the 401 at the door to the end of the access, and that they are good nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp_client import CALLBACK, CLAUDE_CODE, Asking, Person, Tools, answer_in
from sso_site import requires_provider

pytestmark = [requires_provider]


@pytest.fixture(scope="module")
def tokens(tools: Tools) -> dict[str, Any]:
    with Person(tools, "ann") as ann:
        return ann.give_access()


@pytest.mark.requirement("MC-2")
class TestDiscovery:
    @pytest.mark.parametrize("endpoint", ["/mcp", "/mcp/echo"])
    def test_a_401_tells_where_to_learn_who_gives_tokens(self, tools: Tools, endpoint: str):
        answer = tools.rpc(None, "tools/list", at=endpoint)
        assert answer.status_code == 401
        told = answer.headers["www-authenticate"]
        assert told.startswith("Bearer ")
        assert f'resource_metadata="{tools.url}/.well-known/oauth-protected-resource{endpoint}"' in told
        assert "error=" not in told
        assert 'error="invalid_token"' in tools.rpc("eyJ.x.y", "tools/list", at=endpoint).headers["www-authenticate"]

    @pytest.mark.parametrize(("path", "endpoint"), [("", "/mcp"), ("/mcp", "/mcp"), ("/mcp/echo", "/mcp/echo")])
    def test_the_resource_names_itself_and_its_only_authorisation_server(self, tools: Tools, path: str, endpoint: str):
        document = tools.get(f"/.well-known/oauth-protected-resource{path}").json()
        assert document["resource"] == tools.url + endpoint
        assert document["authorization_servers"] == [tools.url]
        assert document["bearer_methods_supported"] == ["header"]
        assert all(scope.startswith("mcp:") for scope in document["scopes_supported"])

    def test_names_of_servers_are_not_told_to_who_has_no_credential(self, tools: Tools):
        real, made_up = [
            tools.get(f"/.well-known/oauth-protected-resource/mcp/{name}").json() for name in ("echo", "nothing")
        ]
        assert real["resource"].replace("echo", "nothing") == made_up["resource"]
        for path in ("/other", "/mcp/UPPER", "/mcp/a/b", "/mcp/%2e%2e", "/mcp/a_b"):
            assert tools.get(f"/.well-known/oauth-protected-resource{path}").status_code == 404

    def test_the_authorisation_server_says_what_a_careful_client_looks_for(self, tools: Tools):
        metadata = tools.get("/.well-known/oauth-authorization-server").json()
        assert metadata["issuer"] == tools.url
        assert metadata["code_challenge_methods_supported"] == ["S256"]
        assert metadata["authorization_response_iss_parameter_supported"] is True
        assert metadata["client_id_metadata_document_supported"] is True
        assert metadata["response_types_supported"] == ["code"]
        assert metadata["token_endpoint_auth_methods_supported"] == ["none"]
        for name in ("authorization", "token", "registration", "revocation"):
            assert metadata[f"{name}_endpoint"].startswith(f"{tools.url}/oauth/")


class TestAccess:
    def test_is_given_by_a_person_who_reads_who_asks_for_what(self, tools: Tools, ann: Person):
        client = tools.register(client_name="Tester 1").json()
        asking = Asking(tools.url, client["client_id"], resource=f"{tools.url}/mcp/echo", scope="mcp:tools")
        page = ann.open(asking.address)
        for words in ("Tester 1", "nothing but its own word", "call tools", "the MCP server echo", "ann@example.com"):
            assert words in page.text
        assert "read resources" not in page.text
        told = answer_in(ann.browser.submit(page, action="allow"))
        assert (told["to"], told["state"], told["iss"]) == (CALLBACK, asking.state, tools.url)
        answer = tools.post("/oauth/token", **asking.form(told["code"]))
        assert answer.headers["cache-control"] == "no-store"
        given = answer.json()
        assert (given["token_type"], given["scope"], given["expires_in"]) == ("Bearer", "mcp:tools", 900)
        assert tools.call(given["access_token"], "echo", at="/mcp/echo") == "echo: hello"

    def test_is_asked_for_every_time_and_remembered_never(self, tools: Tools, ann: Person):
        client = tools.register().json()["client_id"]
        for _ in range(2):
            page = ann.open(Asking(tools.url, client).address)
            assert "Give this program access?" in page.text, (
                "consent to one program is none to the next (confused deputy)"
            )

    def test_is_refused_by_a_no(self, tools: Tools, ann: Person):
        told = ann.decide(Asking(tools.url, tools.register().json()["client_id"]), "deny")
        assert (told["error"], told["iss"]) == ("access_denied", tools.url)
        assert "code" not in told

    def test_of_claude_code_needs_no_way_out_of_the_site(self, tools: Tools, ann: Person):
        given = ann.give_access(CLAUDE_CODE, redirect_uri="http://localhost:49152/callback")
        assert tools.call(given["access_token"]) == "echo: hello"

    def test_without_a_resource_is_for_all_servers_and_no_more(self, tools: Tools, ann: Person):
        given = ann.give_access(resource=None)
        assert tools.call(given["access_token"]) == "echo: hello"
        assert tools.here.get("/v1/models", given["access_token"]).status_code == 401

    def test_is_in_the_audit_log_with_the_program_and_the_resource(self, tools: Tools, ann: Person):
        ann.give_access()
        asked = tools.here.events("client_access")[-1]
        assert (asked["client"], asked["user_email"]) == ("Tester", "ann@example.com")
        issued = [event for event in tools.here.events("token_issued") if event.get("client")][-1]
        assert issued["resource"].startswith("/mcp")


@pytest.mark.requirement("MC-2")
class TestAToken:
    def test_is_for_the_mcp_door_alone(self, tools: Tools, tokens: dict[str, Any]):
        token = tokens["access_token"]
        assert tools.call(token) == "echo: hello"
        for path in ("/v1/models", "/managed/settings", "/api/oauth/usage", "/admin/whoami"):
            refused = tools.here.get(path, token)
            assert refused.status_code == 401, path
            assert "good nowhere else" in refused.text

    def test_of_a_sign_in_is_for_the_api_alone(self, tools: Tools):
        given = tools.here.sign_in("ann")
        assert tools.here.get("/v1/models", given["access_token"]).status_code == 200
        refused = tools.rpc(given["access_token"], "tools/list")
        assert (refused.status_code, "good nowhere else" in refused.text) == (401, True)

    def test_of_a_persons_own_program_may_be_asked_for_each(self, tools: Tools):
        given = tools.here.sign_in("ann")
        form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
        fresh = tools.post("/oauth/token", **form, resource=f"{tools.url}/mcp").json()
        assert tools.call(fresh["access_token"]) == "echo: hello"
        assert tools.here.get("/v1/models", fresh["access_token"]).status_code == 401

    def test_of_one_server_is_not_one_of_another_nor_of_all(self, tools: Tools, ann: Person):
        token = ann.give_access(resource=f"{tools.url}/mcp/echo")["access_token"]
        assert tools.call(token, "echo", at="/mcp/echo") == "echo: hello"
        assert tools.rpc(token, "tools/list", at="/mcp/other").status_code == 401
        assert tools.rpc(token, "tools/list").status_code == 401

    def test_of_all_is_one_of_each(self, tools: Tools, tokens: dict[str, Any]):
        assert tools.call(tokens["access_token"], "echo", at="/mcp/other") == "echo: hello"

    def test_with_fewer_scopes_can_do_less(self, tools: Tools, ann: Person):
        token = ann.give_access(scope="mcp:prompts unheard-of")["access_token"]
        listed = tools.rpc(token, "tools/list").text
        assert "echo__echo" not in listed
        assert "echo__greet" in tools.rpc(token, "prompts/list").text

    def test_with_fewer_scopes_is_told_which_to_ask_for(self, tools: Tools, ann: Person):
        token = ann.give_access(scope="mcp:prompts")["access_token"]
        refused = tools.rpc(token, "tools/call", name="echo__echo", arguments={"text": "hello"})
        assert refused.status_code == 403
        challenge = refused.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert 'scope="mcp:tools mcp:prompts"' in challenge, "what it had and what it lacks, and nothing else"
        assert f'resource_metadata="{tools.url}/.well-known/oauth-protected-resource/mcp"' in challenge
        more = ann.give_access(scope="mcp:tools mcp:prompts")["access_token"]
        assert tools.call(more) == "echo: hello"

    def test_with_fewer_scopes_that_hides_its_method_can_do_no_more(self, tools: Tools, ann: Person):
        token = ann.give_access(scope="mcp:prompts")["access_token"]
        for method in ("tools/list", "prompts/get"):
            own = {"mcp-method": method}
            refused = tools.rpc(token, "tools/call", name="echo__echo", own=own, arguments={"text": "hello"})
            assert "echo: hello" not in refused.text

    def test_of_a_key_with_scopes_is_not_sent_to_ask_for_more(self, tools: Tools):
        key = tools.here.platform.key("narrow", "--scope", "prompts:*:get")
        refused = tools.rpc(key, "tools/call", name="echo__echo", arguments={"text": "hello"})
        assert (refused.status_code, "www-authenticate" in refused.headers) == (200, False)

    def test_says_who_it_is_to_the_flow(self, tools: Tools, ann: Person):
        token = ann.give_access()["access_token"]
        assert tools.call(token) == "echo: hello"
        lines = tools.here.platform.run("audit", "export", "--what", "mcp_tool_call").splitlines()
        assert json.loads(lines[-1])["user_email"] == "ann@example.com"

    def test_beside_it_a_platform_key_stays_good_at_both_doors(self, tools: Tools):
        key = tools.here.platform.key("both-doors")
        assert tools.call(key) == "echo: hello"
        assert tools.here.get("/v1/models", key).status_code == 200


class TestRenewal:
    def refresh(self, tools: Tools, given: dict[str, Any], **changes: str) -> Any:
        form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": given["client_id"]}
        return tools.post("/oauth/token", **(form | changes))

    def test_gives_a_new_pair_for_the_same_resource(self, tools: Tools, ann: Person):
        given = ann.give_access(scope="mcp:tools")
        fresh = self.refresh(tools, given, resource=f"{tools.url}/mcp").json()
        assert fresh["refresh_token"] != given["refresh_token"]
        assert fresh["scope"] == "mcp:tools"
        assert tools.call(fresh["access_token"]) == "echo: hello"
        assert tools.here.get("/v1/models", fresh["access_token"]).status_code == 401
        assert "echo__greet" not in tools.rpc(fresh["access_token"], "prompts/list").text, "no more than it asked for"

    def test_is_for_the_client_that_got_it(self, tools: Tools, ann: Person):
        given = ann.give_access()
        for wrong in ("", CLAUDE_CODE, str(tools.register().json()["client_id"])):
            answer = self.refresh(tools, given, client_id=wrong)
            assert answer.json()["error"] == "invalid_grant"
        assert self.refresh(tools, given).status_code == 200, "a thief's try does not end what the client has"

    def test_is_for_the_resource_it_was_given_for(self, tools: Tools, ann: Person):
        given = ann.give_access(resource=f"{tools.url}/mcp/echo")
        for other in (f"{tools.url}/mcp", f"{tools.url}/mcp/other"):
            assert self.refresh(tools, given, resource=other).json()["error"] == "invalid_grant"
        for elsewhere in (tools.url, f"{tools.url}/v1", "https://elsewhere.example/mcp"):
            assert self.refresh(tools, given, resource=elsewhere).json()["error"] == "invalid_target"
        assert self.refresh(tools, given).status_code == 200

    def test_with_a_token_that_was_used_before_ends_the_access(self, tools: Tools, ann: Person):
        given = ann.give_access()
        second = self.refresh(tools, given).json() | {"client_id": given["client_id"]}
        third = self.refresh(tools, second).json()
        stolen = self.refresh(tools, given)
        assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
        assert tools.rpc(third["access_token"], "tools/list").status_code == 401
        assert tools.here.events("refresh_token_reused")

    @pytest.mark.parametrize("which", ["access_token", "refresh_token"])
    def test_ends_with_revocation(self, tools: Tools, ann: Person, which: str):
        given = ann.give_access()
        assert tools.post("/oauth/revoke", token=given[which], client_id=given["client_id"]).status_code == 200
        assert tools.rpc(given["access_token"], "tools/list").status_code == 401
        assert self.refresh(tools, given).status_code == 400


def test_no_code_no_token_and_no_verifier_is_logged(tools: Tools, ann: Person):
    asking = Asking(tools.url, str(tools.register().json()["client_id"]))
    code = ann.decide(asking)["code"]
    given = tools.post("/oauth/token", **asking.form(code)).json()
    tools.call(given["access_token"])
    audit = tools.here.platform.run("audit", "export")
    data = Path(tools.here.platform.data)
    for secret in (code, asking.verifier, given["access_token"], given["refresh_token"]):
        assert secret not in tools.here.log()
        assert secret not in audit
        assert not [path for path in data.rglob("*.log") if secret in path.read_text(errors="replace")]
