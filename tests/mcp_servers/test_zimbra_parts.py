"""Parts of the Zimbra server: sign-in, certificates, bounds, log search, parsing - and attacks on them."""

import asyncio
import datetime as dt
import gzip
import ipaddress
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.clock import SystemClock
from ai_platform.domain.errors import ConfigError, InvalidCall, UpstreamBroken, UpstreamError, UpstreamUnreachable
from ai_platform.mcp_servers.zimbra import admin_api, logs
from ai_platform.mcp_servers.zimbra.admin_api import AdminApi, Fault, endpoint
from ai_platform.mcp_servers.zimbra.commands import CommandSite, blocks, services, usages
from ai_platform.mcp_servers.zimbra.entry import is_address
from ai_platform.mcp_servers.zimbra.logs import Found, Logs, Wanted
from ai_platform.mcp_servers.zimbra.matching import expression, plain
from ai_platform.mcp_servers.zimbra.remote import RemoteSite
from ai_platform.simulator.zimbra import example, furnish, serve_zimbra
from ai_platform.simulator.zimbra.site import load
from ai_platform.testing import FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ZI-1")]
USER, PASSWORD = "admin@simulated.example", "simulated-password"


@asynccontextmanager
async def client(url: str, password: str = PASSWORD, **more: object) -> AsyncGenerator[AdminApi]:
    settings = {"clock": SystemClock(), **more}
    api = AdminApi(url, USER, lambda: password, **settings)  # type: ignore[arg-type]
    try:
        yield api
    finally:
        await api.close()


# Signing in


async def test_one_sign_in_serves_many_questions_at_once():
    async with serve_zimbra() as twin, client(twin.url) as api:
        site = RemoteSite(api, SystemClock())
        await asyncio.gather(*(site.account("ada@simulated.example") for _ in range(20)))
        assert (api.signed_in, twin.api.site.asked.count("AuthRequest")) == (1, 1)


async def test_many_questions_about_one_domain_are_one_to_zimbra_for_a_minute():
    clock = FakeClock()
    async with serve_zimbra() as twin, client(twin.url, clock=clock) as api:
        site = RemoteSite(api, clock)
        await asyncio.gather(*(site.usage("simulated.example") for _ in range(20)))
        assert twin.api.site.asked.count("GetQuotaUsageRequest") == 1
        clock.advance(61)
        await site.usage("simulated.example")
        assert twin.api.site.asked.count("GetQuotaUsageRequest") == 2


async def test_many_questions_of_the_tools_are_one_for_a_minute(tmp_path: Path):
    furnish(tmp_path, example())
    site = CommandSite(tmp_path / "bin", SystemClock())
    await asyncio.gather(*(site.usage("simulated.example") for _ in range(5)))
    assert load(tmp_path / "site.json").asked == [
        "zmprov gas mailbox",
        "zmprov gqu mail1.simulated.example",
        "zmprov gqu mail2.simulated.example",
    ]


async def test_a_token_is_renewed_before_it_expires_and_when_zimbra_forgot_it():
    clock = FakeClock()
    site = example()
    site.lifetime_ms = 3_600_000
    async with serve_zimbra(site) as twin, client(twin.url, clock=clock) as api:
        remote = RemoteSite(api, clock)
        await remote.domains()
        twin.api.forget_tokens()
        await asyncio.gather(*(remote.domains() for _ in range(5)))
        assert api.signed_in == 2
        clock.advance(3_600_000 / 1000 - 30)
        await remote.domains()
        assert api.signed_in == 3


async def test_a_refused_password_is_not_tried_again_at_once_so_that_the_account_is_not_locked():
    clock = FakeClock()
    async with serve_zimbra() as twin, client(twin.url, "wrong", clock=clock) as api:
        remote = RemoteSite(api, clock)
        for _ in range(5):
            with pytest.raises(Fault, match="authentication failed") as caught:
                await remote.domains()
            assert "wrong" not in str(caught.value)
        assert twin.api.site.asked.count("AuthRequest") == 1
        clock.advance(61)
        with pytest.raises(Fault):
            await remote.domains()
        assert twin.api.site.asked.count("AuthRequest") == 2


@pytest.mark.parametrize("listed", [True, False])
async def test_both_forms_of_attributes_are_understood(*, listed: bool):
    site = example()
    site.listed_attributes = listed
    async with serve_zimbra(site) as twin, client(twin.url) as api:
        account = await RemoteSite(api, SystemClock()).account("ada@simulated.example")
    assert account is not None
    assert (account.status, account.host) == ("active", "mail1.simulated.example")


# The other side is not what it should be


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain_form = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain_form))
    return pem, private


async def test_a_certificate_is_checked_and_an_own_authority_can_be_named(tmp_path: Path):
    pair = certificate(tmp_path)
    async with serve_zimbra(certificate=pair) as twin:
        async with client(twin.url) as stranger:
            with pytest.raises(UpstreamUnreachable, match=r"certificate verify failed.*--ca"):
                await RemoteSite(stranger, SystemClock()).domains()
        assert twin.api.site.asked == [], "no password is sent to a stranger"
        async with client(twin.url, ca=pair[0]) as api:
            assert await RemoteSite(api, SystemClock()).domains()


def test_a_file_without_certificates_is_no_authority(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="--ca"):
        AdminApi("https://z.example:7071", USER, lambda: PASSWORD, clock=SystemClock(), ca=tmp_path / "ca.pem")


@asynccontextmanager
async def answering(answer: bytes) -> AsyncGenerator[str]:
    """A server that gives everybody the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        try:
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        http(b"", "302 Found", "location: http://169.254.169.254/latest/meta-data/"),
        http(b"<html>", "200 OK"),
        http(b"[" * 100_000),
        http(b'{"Body":{}}'),
        http(b'{"Body":{"AuthResponse":{"authToken":[]}}}'),
        http(b'{"Body":{"AuthResponse":{"authToken":7}}}'),
        http(b'{"Body":{"Fault":7}}', "500 Internal Server Error"),
        http(b"", "403 Forbidden"),
        b"\x00\x01\x02",
    ],
)
async def test_answers_that_are_none_are_errors_that_say_so(answer: bytes):
    async with answering(answer) as url, client(url) as api:
        with pytest.raises(UpstreamError, match=r"Zimbra"):
            await RemoteSite(api, SystemClock()).domains()


async def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(admin_api, "MOST_BYTES", 100_000)
    endless = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"ffff\r\n" + (b"x" * 0xFFFF + b"\r\nffff\r\n") * 50
    )
    async with answering(endless) as url, client(url) as api:
        with pytest.raises(UpstreamBroken, match="too large"):
            await RemoteSite(api, SystemClock()).domains()


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example.com:7071",
        "http://127.0.0.1.evil.example:7071",
        "ftp://127.0.0.1",
        "https://a:b@mail.example.com",
        "https://mail.example.com:7071?x",
        "https://mail.example.com:7071#x",
        "https://mail example.com",
        "https://",
    ],
)
def test_an_address_that_is_not_safe_is_none(url: str):
    with pytest.raises(ConfigError):
        endpoint(url)


def test_the_path_of_the_admin_api_need_not_be_written():
    assert endpoint("https://mail.example.com:7071/") == "https://mail.example.com:7071/service/admin/soap"
    assert endpoint("https://mail.example.com/proxied/soap") == "https://mail.example.com/proxied/soap"


# Tools of a host


def runs(number: int) -> bool:
    stat = Path(f"/proc/{number}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}


async def test_a_tool_that_hangs_is_ended_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    furnish(tmp_path, example())
    tool = tmp_path / "bin" / "zmcontrol"
    tool.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/child\nwait\n")
    monkeypatch.setattr("ai_platform.mcp_servers.zimbra.commands.SECONDS", 0.5)
    with pytest.raises(UpstreamError, match="did not end"):
        await CommandSite(tmp_path / "bin", SystemClock()).services()
    assert not runs(int((tmp_path / "child").read_text()))


async def test_a_hostile_server_name_in_the_output_is_no_argument(tmp_path: Path):
    site = example()
    site.services = {"--help": {"mailbox": True}, **site.services}
    furnish(tmp_path, site)
    with pytest.raises(UpstreamError, match="cannot be understood"):
        await CommandSite(tmp_path / "bin", SystemClock()).usage("simulated.example")


def test_the_formats_of_the_tools_are_read():
    said = "Host mail.example.com\n\tservice webapp       Running\n\tmta         Stopped\n\t\tpostfix is not running.\n"
    assert [(one.name, one.running) for one in services(said)] == [("service webapp", True), ("mta", False)]
    assert usages("a@b.c 0 12\nERROR: x y z\nd@e.f 5 -1\n").keys() == {"a@b.c"}
    assert blocks("# name d.e\nzimbraDomainStatus: active\nstray\n\n# name f.g\n") == [
        ("d.e", {"zimbraDomainStatus": "active"}),
        ("f.g", {}),
    ]


@given(st.text(max_size=300))
def test_no_text_upsets_the_readers_of_formats(text: str):
    services(text)
    usages(text)
    blocks(text)
    assert not is_address(text) or not text.startswith("-")


# Logs


def entry(number: int, level: str = "INFO", text: str = "something") -> str:
    return f"2026-11-22 08:00:{number % 60:02d},{number % 1000:03d} {level:<5} [main] [] part - {text} {number}\n"


def search(folder: Path, finds: Callable[[str], bool], **wanted: object) -> Found:
    settings = {"file": "mailbox.log", "lines": 100, **wanted}
    return Logs(folder, SystemClock()).search(Wanted(finds=finds, **settings))  # type: ignore[arg-type]


def test_the_newest_entries_win_and_traces_stay_whole(tmp_path: Path):
    trace = "java.lang.Error: boom\n\tat a.b(C.java:1)\n\tat d.e(F.java:2)\n"
    (tmp_path / "mailbox.log").write_text("".join(entry(n, "ERROR") + trace for n in range(10)))
    found = search(tmp_path, plain("BOOM"), lines=9)
    assert [one.splitlines()[0][-1] for one in found.entries] == ["8", "9"]
    assert all(one.endswith("(F.java:2)") for one in found.entries)
    assert found.more
    (only,) = search(tmp_path, plain("boom"), lines=2).entries
    assert only.splitlines()[1] == "… 3 more lines"


def test_the_level_counts_not_the_word(tmp_path: Path):
    (tmp_path / "mailbox.log").write_text(entry(1, "INFO", "no error") + entry(2, "ERROR") + entry(3, "FATAL", "error"))
    assert len(search(tmp_path, plain(" "), level="ERROR").entries) == 2
    assert len(search(tmp_path, plain("error"), level="FATAL").entries) == 1


def test_older_files_are_looked_into_when_asked_packed_or_not(tmp_path: Path):
    (tmp_path / "mailbox.log").write_text(entry(3))
    (tmp_path / "mailbox.log.2026-11-21").write_text(entry(2))
    (tmp_path / "mailbox.log.2026-11-20.gz").write_bytes(gzip.compress(entry(1).encode()))
    (tmp_path / "mailbox.log.secret").write_text(entry(9))
    assert len(search(tmp_path, plain("something")).entries) == 1
    found = search(tmp_path, plain("something"), rotated=9)
    assert [one[-1] for one in found.entries] == ["1", "2", "3"]
    assert found.files == ["mailbox.log", "mailbox.log.2026-11-21", "mailbox.log.2026-11-20.gz"]


def test_a_link_in_the_place_of_a_log_leads_nowhere(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(entry(1, text="the secret"))
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "mailbox.log").symlink_to(secret)
    os.mkfifo(folder / "audit.log")
    (folder / "sync.log").mkdir()
    for file in logs.FILES:
        with pytest.raises(UpstreamUnreachable, match="cannot be read"):
            search(folder, plain("secret"), file=file)
    with pytest.raises(UpstreamUnreachable):
        search(tmp_path / "nowhere", plain("x"))


def test_what_is_read_is_bounded_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "MOST_BYTES", 100_000)
    monkeypatch.setattr(logs, "_CHUNK", 10_000)
    (tmp_path / "mailbox.log").write_text("".join(entry(n) for n in range(5000)))
    found = search(tmp_path, plain("something 0\n"))
    assert (found.entries, found.partial) == ([], True)
    assert found.read <= 110_000
    assert search(tmp_path, plain("something 4999")).entries
    (tmp_path / "mailbox.log.2026-11-20.gz").write_bytes(gzip.compress(entry(1).encode() * 100_000))
    assert search(tmp_path, plain("nothing at all"), rotated=1).read <= 220_000


def test_a_damaged_archive_is_an_error_not_a_crash(tmp_path: Path):
    (tmp_path / "mailbox.log").write_text(entry(1))
    (tmp_path / "mailbox.log.2026-11-20.gz").write_bytes(gzip.compress(entry(1).encode() * 1000)[:-20])
    (tmp_path / "mailbox.log.2026-11-19.gz").write_bytes(b"no archive")
    for rotated in (1, 2):
        with pytest.raises(UpstreamUnreachable):
            search(tmp_path, plain("nothing"), rotated=rotated)


def test_control_characters_of_a_log_reach_no_terminal(tmp_path: Path):
    (tmp_path / "mailbox.log").write_bytes(entry(1, text="\x1b[31mred\x07\x00").encode() + b"\xff\xfe" + b"x" * 10_000)
    (only,) = search(tmp_path, plain("red")).entries
    assert "\x1b" not in only
    assert "\x00" not in only
    assert max(map(len, only.splitlines())) <= logs.LONGEST_LINE


@given(st.lists(st.tuples(st.integers(0, 999), st.text("abc\n\té", max_size=40)), max_size=40), st.integers(16, 4096))
def test_every_entry_is_found_whole_wherever_the_file_is_cut(rows: list[tuple[int, str]], chunk: int):
    texts = [entry(number, text=text.replace("\n2", "\n")) for number, text in rows]
    data = "".join(texts).encode()

    class Cut:
        at = 0

        def read(self, _size: int) -> bytes:
            piece = data[self.at : self.at + chunk]
            self.at += chunk
            return piece

    assert [raw.decode() for raw in logs._entries(Cut(), Found())] == texts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "a{1,9}", "(?=x)", r"(a)\1", "(", "a*", "x" * 201, r"\p{L}", "(*UTF8)a", "x\0"],
)
def test_an_expression_is_matched_in_linear_time_or_refused(pattern: str):
    if pattern == "(a+)+$":
        assert not expression(pattern)("a" * 100_000 + "b")
        return
    with pytest.raises(InvalidCall, match="regular expression"):
        expression(pattern)


def test_expressions_and_texts_ignore_case_and_a_text_has_no_special_signs():
    assert expression("^.* error .*quota$")("2026 ERROR over Quota\nnext")
    assert not expression("a.b")("a\nb")
    assert plain(".*")("a .* b")
    assert not plain(".*")("abc")
