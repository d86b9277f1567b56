"""`ai-platform access explain`: who granted or denies it, by key and by sign-in."""

from pathlib import Path

from sso_site import requires_provider, site

POLICY = """
version: "1"
models: {roles: {developer: {allow: ["claude-haiku-*", "claude-sonnet-*"]}}}
rules:
  - {name: no-sonnet-from-laptops, effect: deny, when: 'caller.signed_in && call.model.startsWith("claude-sonnet")'}
  - {name: not-at-night, effect: deny, when: 'call.model.startsWith("claude-haiku") && call.ip.startsWith("198.51.")'}
  - {name: no-money, effect: deny, when: 'call.server == "payments" && call.arguments.amount > 100.0'}
"""


@requires_provider
def test_keys_and_sign_ins_are_explained_with_what_gives_each_role(tmp_path: Path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    with site(tmp_path / "site", options=("--policy", str(policy))) as here:
        here.sign_in("ann")
        here.platform.key("anns", "--email", "ann@example.com", "--role", "reviewer", "--scope", "read_code")

        def ask(action: str, *, code: int = 0) -> dict[str, dict[str, object]]:
            with here.platform.http() as client:
                found = client.get(
                    "/admin/access/explain", params={"person": "ann@example.com", "action": action}
                ).json()
            assert found["allowed"] is (code == 0)
            return {one["credential"]: one for one in found["credentials"]}

        write = ask("write_code")
        assert write["sign-in at corp"]["why"] == "The role developer grants it, given by group engineering."
        assert "None of its roles grants" in str(write["key anns"]["why"])
        approve = ask("code:pull_request:approve", code=1)
        assert "the scopes of the key do not" in str(approve["key anns"]["why"])
        assert not approve["sign-in at corp"]["allowed"]
        assert ask("model:claude-haiku-5-5")["sign-in at corp"]["allowed"]
        opus = ask("model:claude-opus-5-5")
        assert (opus["sign-in at corp"]["allowed"], opus["key anns"]["allowed"]) == (False, True)
        assert "the policy" in str(opus["sign-in at corp"]["why"])
        sonnet = ask("model:claude-sonnet-5-5")
        assert (sonnet["sign-in at corp"]["allowed"], sonnet["key anns"]["allowed"]) == (False, True)
        assert "The rule 'no-sonnet-from-laptops' of the policy refuses it" in str(sonnet["sign-in at corp"]["why"])
        (rule,) = ask("model:claude-haiku-5-5")["sign-in at corp"]["rules"]  # type: ignore[misc]
        assert (rule["rule"], rule["state"], rule["needs"]) == ("not-at-night", "depends", ["call.ip"])
        shown = here.platform.run("access", "explain", "ann@example.com", "model:claude-haiku-5-5")
        assert "not-at-night" in shown
        assert "depends on call.ip" in shown
        shown = here.platform.run("access", "explain", "ann@example.com", "write_code")
        assert "developer (group engineering)" in shown
        refused = here.platform.json("access", "explain", "ann@example.com", "tool:payments/pay", code=1)
        assert refused["allowed"] is False
        here.platform.run("access", "explain", "ann@example.com", "fly", code=1)
        here.platform.run("access", "explain", "nobody@example.com", "write_code", code=1)
        nobody = here.platform.key("plain")
        with here.platform.http(nobody) as client:
            query = {"person": "ann@example.com", "action": "write_code"}
            assert client.get("/admin/access/explain", params=query).status_code == 403
