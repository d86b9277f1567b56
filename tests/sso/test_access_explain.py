"""`ai-platform access explain`: who granted or denies it, by key and by sign-in."""

from pathlib import Path

from sso_site import requires_provider, site


@requires_provider
def test_keys_and_sign_ins_are_explained_with_what_gives_each_role(tmp_path: Path):
    policy = tmp_path / "policy.yaml"
    policy.write_text('version: "1"\nmodels:\n  roles:\n    developer: {allow: ["claude-haiku-*"]}\n')
    with site(tmp_path / "site", options=("--policy", str(policy))) as here:
        here.sign_in("ann")
        here.platform.key("anns", "--email", "ann@example.com", "--role", "reviewer", "--scope", "read_code")

        def ask(action: str, *, code: int) -> dict[str, dict[str, object]]:
            found = here.platform.json("access", "explain", "ann@example.com", action, code=code)
            assert found["allowed"] is (code == 0)
            return {one["credential"]: one for one in found["credentials"]}

        write = ask("write_code", code=0)
        assert write["sign-in at corp"]["why"] == "The role developer grants it, given by group engineering."
        assert "None of its roles grants" in str(write["key anns"]["why"])
        approve = ask("code:pull_request:approve", code=1)
        assert "the scopes of the key do not" in str(approve["key anns"]["why"])
        assert not approve["sign-in at corp"]["allowed"]
        assert ask("model:claude-haiku-5-5", code=0)["sign-in at corp"]["allowed"]
        opus = ask("model:claude-opus-5-5", code=0)
        assert (opus["sign-in at corp"]["allowed"], opus["key anns"]["allowed"]) == (False, True)
        assert "the policy" in str(opus["sign-in at corp"]["why"])
        shown = here.platform.run("access", "explain", "ann@example.com", "write_code")
        assert "developer (group engineering)" in shown
        here.platform.run("access", "explain", "ann@example.com", "fly", code=1)
        here.platform.run("access", "explain", "nobody@example.com", "write_code", code=1)
        nobody = here.platform.key("plain")
        with here.platform.http(nobody) as client:
            query = {"person": "ann@example.com", "action": "write_code"}
            assert client.get("/admin/access/explain", params=query).status_code == 403
