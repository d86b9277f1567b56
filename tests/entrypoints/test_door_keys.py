"""Keys in wrong places, too many of them, guessed ones; and where a key or a secret must never turn up."""

import stat
import subprocess
from pathlib import Path

import pytest
from attack_gate import UPSTREAM_KEY, Gate
from attack_kit import JSON, message, reply, request

from ai_platform.identity.token import checksum

pytestmark = pytest.mark.requirement("ID-3")

SSN = "536-22-8491"


def intact(text: str) -> str:
    """A key that was never made, with a checksum that fits."""
    body = "aip_" + text.ljust(42, "0")[:42]
    return body + checksum(body)


def test_either_place_is_taken_and_the_platforms_own_key_wins_over_anothers(gate: Gate) -> None:
    own, other = gate.key, "sk-ant-api03-somebody-elses"
    for lines in (
        [f"authorization: Bearer {own}"],
        [f"authorization: bEARER   {own}  "],
        [f"x-api-key: {own}"],
        [f"authorization: Bearer {own}", f"x-api-key: {other}"],
        [f"authorization: Bearer {other}", f"x-api-key: {own}"],
        [f"authorization: Bearer {own}", f"x-api-key: {gate.admin}"],
    ):
        assert gate.json(message(), *lines, key=None).status == 200, lines
    sent = b"".join(asked.head for asked in gate.upstream.asked)
    assert b"aip_" not in sent
    assert other.encode() not in sent
    assert sent.count(UPSTREAM_KEY.encode()) == 6


@pytest.mark.parametrize(
    "line",
    ["authorization: {0}", "authorization: Basic {0}", "proxy-authorization: Bearer {0}", "cookie: key={0}", "x: y"],
)
def test_a_key_in_no_place_of_its_own_opens_nothing(gate: Gate, line: str) -> None:
    answer = gate.json(message(), line.format(gate.key), key=None)
    assert answer.status == 401
    assert answer.field("x-should-retry") == "false"
    assert "Authorization: Bearer aip_..., or x-api-key" in answer.says
    assert "ai-platform keys create" in answer.says
    assert gate.upstream.asked == []


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_a_key_field_that_comes_twice_with_different_values_is_refused(gate: Gate, name: str) -> None:
    """A proxy in front may have checked the other one."""
    form = "Bearer {}" if name == "authorization" else "{}"
    lines = [f"{name}: {form.format(key)}" for key in (gate.key, gate.admin)]
    answer = gate.json(message(), *lines, key=None)
    assert answer.status == 400
    assert f"`{name}` came twice" in answer.says
    assert gate.json(message(), lines[0], lines[0], key=None).status == 200
    assert len(gate.upstream.asked) == 1


@pytest.mark.parametrize(
    "path", ["/v1/messages?key={0}", "/v1/messages?beta=true&api_key={0}", "/v1/models/{0}", "/admin/keys?key={0}"]
)
def test_a_key_in_the_address_is_refused_and_never_travels(gate: Gate, path: str) -> None:
    method = "POST" if "messages" in path else "GET"
    without = gate.ask(message() if method == "POST" else b"", method=method, path=path.format(gate.key), key=None)
    assert without.status in {400, 401}
    answer = gate.ask(
        message() if method == "POST" else b"", method=method, path=path.format(gate.admin), key=gate.admin
    )
    assert answer.status == 400
    assert "replace it: it may have been seen" in answer.says
    assert gate.upstream.asked == []
    assert gate.key not in gate.log()
    assert gate.admin not in gate.log()


@pytest.mark.parametrize("name", ["x-auth-token", "api-key", "anthropic-api-key", "x-note", "user_agent", "x_api_key"])
def test_a_platform_key_in_another_header_never_reaches_the_upstream(gate: Gate, name: str) -> None:
    answer = gate.json(message(), f"{name}: Bearer {gate.admin}")
    assert answer.status == 400
    assert f"`{name}`" in answer.says
    assert gate.upstream.asked == []


@pytest.mark.parametrize("name", ["x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url"])
def test_what_some_servers_take_for_the_method_or_the_path_does_not_travel(gate: Gate, name: str) -> None:
    assert gate.json(message(), f"{name}: /v1/files").status == 200
    assert name.encode() not in gate.upstream.asked[0].head


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("aip_" + "a" * 60_000, "damaged"),
        ("aip_" + "a" * 48, "damaged"),
        ("sk-ant-api03-abc", "a key of Anthropic"),
        ("secret", "not a key of the platform"),
        ("aip_" + "é" * 48, "damaged"),
        (intact("Guess"), "not known here"),
        ("' OR '1'='1", "not a key of the platform"),
        (intact("x"), "not known here"),
    ],
)
def test_a_wrong_key_is_told_what_is_wrong_with_it_and_no_more(gate: Gate, key: str, says: str) -> None:
    answer = gate.json(message(), f"x-api-key: {key}", key=None)
    assert answer.status == 401
    assert says in answer.says
    assert key[:60] not in answer.says
    assert answer.field("www-authenticate") == 'Bearer realm="ai-platform"'


def test_the_right_id_with_a_wrong_secret_is_told_the_same_as_an_unknown_id(gate: Gate) -> None:
    known = intact(gate.key.removeprefix("aip_")[:12] + "wrongwrongwrongwrongwrongwrong")
    unknown = intact("nobodynobody" + "wrongwrongwrongwrongwrongwrong")
    told = [gate.json(message(), f"x-api-key: {key}", key=None).says for key in (known, unknown)]
    assert told[0] == told[1]


@pytest.mark.requirement("AU-1")
def test_guessing_locks_nobody_else_out_and_does_not_fill_the_audit_log(gate: Gate) -> None:
    with gate.line() as line:
        for number in range(300):
            line.send(request("POST", "/v1/messages", message(), JSON, key=intact(f"guess{number}")))
            assert line.answer().status == 401
    assert gate.json().status == 200, "a known key passes from the same address"
    fresh = gate.platform.key("newcomer")
    assert gate.json(message(), key=fresh).status == 200, "so does one that was not seen before"
    failures = [event for event in gate.events(what="authentication") if not event["success"]]
    assert len(failures) < 100
    assert gate.metric("aip_sign_in_failures_unrecorded_total") >= 200


def test_a_developer_can_use_no_endpoint_of_an_administrator(gate: Gate) -> None:
    for method, path in (
        ("GET", "/admin/keys"),
        ("POST", "/admin/keys"),
        ("DELETE", "/admin/keys/admin"),
        ("GET", "/admin/audit/events"),
        ("GET", "/admin/audit/export"),
        ("GET", "/admin/audit/tail"),
        ("GET", "/admin/usage"),
        ("GET", "/admin/costs"),
        ("GET", "/admin/policy"),
        ("GET", "/admin/%6beys"),
    ):
        answer = gate.ask(b"", method=method, path=path)
        assert answer.status == 403, path
        assert "needs the permission" in answer.says
        assert "Ask an admin" in answer.says
        assert gate.ask(b"", method=method, path=path, key=None).status == 401
    assert gate.events(limit="1", what="call_refused")[0]["action"] == "GET /admin/keys"


@pytest.mark.requirement("AU-1")
def test_a_failed_sign_in_at_the_admin_door_is_recorded(gate: Gate) -> None:
    request_id = gate.ask(b"", method="GET", path="/admin/keys", key=None).json["request_id"]
    recorded = gate.events(call_id=request_id)
    assert [event["event_type"] for event in recorded] in ([], ["authentication"])
    assert recorded == [] or recorded[0]["door"] == "admin"


@pytest.mark.requirement("TE-1")
@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz", "/"])
def test_pages_for_everybody_show_no_person_and_no_secret(gate: Gate, path: str) -> None:
    gate.json(message(f"my ssn is {SSN}"))
    page = gate.get(path, key=None).text.decode()
    key_id = gate.key[4:16]
    for secret in (
        gate.key,
        gate.admin,
        key_id,
        UPSTREAM_KEY,
        SSN,
        "attacker",
        str(gate.platform.data),
        "postgres:",
    ):
        assert secret not in page, secret


def test_an_upstream_that_repeats_our_key_does_not_tell_it_to_callers(gate: Gate) -> None:
    body = f'{{"type":"error","error":{{"type":"authentication_error","message":"invalid x-api-key {UPSTREAM_KEY}"}}}}'
    whole = reply(body.encode(), f"x-your-key: {UPSTREAM_KEY}", status=401)

    def in_two_pieces(wire) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - a script
        cut = whole.index(UPSTREAM_KEY.encode(), len(whole) - len(body)) + 7
        wire.send(whole[:cut])
        wire.send(whole[cut:])

    for script in (whole, in_two_pieces):
        gate.upstream.next(script)
        answer = gate.json()
        assert answer.status == 401
        assert UPSTREAM_KEY not in answer.text.decode() + str(answer.fields)
        assert len(answer.text) == len(body)
        assert "invalid x-api-key ****" in answer.says


@pytest.mark.requirement("AU-1")
def test_no_secret_and_no_content_is_in_logs_audit_arguments_or_files(gate: Gate) -> None:
    """Everything that the attacks of this run left behind."""
    words = "an unusual sentence about lighthouses"
    gate.json(message(f"{words}; my ssn is {SSN}"))
    gate.json(message(f"{words}; my ssn is {SSN}"))
    gate.json(message(words, model=7))
    gate.json(f'{{"{words}": '.encode())
    exported = gate.platform.run("audit", "export")
    processes = subprocess.run(["ps", "axeww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    platform = Path(f"/proc/{gate.platform.pid}/cmdline").read_text()
    for place, text in (("log", gate.log()), ("audit", exported), ("arguments", platform)):
        for secret in (gate.key, gate.admin, UPSTREAM_KEY, SSN, words):
            assert secret not in text, place
    assert gate.key not in processes
    assert gate.admin not in processes


def test_files_that_hold_secrets_are_for_their_owner_only(gate: Gate) -> None:
    data = gate.platform.data
    ready = data.parent / f"{data.name}.ready.json"
    assert stat.S_IMODE(ready.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    admin = gate.admin.encode()
    kept = [path for path in data.rglob("*") if path.is_file() and path.relative_to(data).parts[0] != "pg"]
    holding = [path for path in kept if admin in path.read_bytes()]
    assert [path.name for path in holding] == ["admin.key"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
