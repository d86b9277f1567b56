"""How an upstream is reached: IPv6, names with several addresses, HTTP proxies with and without TLS and passwords."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from authority import Authority
from scripted import OK, Request, Scripted, Wire, answer, fetch, get, replies, serving, spec, upstreams

from ai_platform.domain.errors import ConfigError, UpstreamError, UpstreamUnreachable
from ai_platform.upstream.dial import Dialler, Origin, connect_first
from ai_platform.upstream.proxy import choose_proxy
from ai_platform.upstream.settings import RetrySettings
from ai_platform.upstream.wire import Limits

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-1")]

ONCE = RetrySettings(attempts=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def proxying(
    *, password: bytes | None = None, tls: ssl.SSLContext | None = None, refusal: bytes = b"", extra: bytes = b""
) -> AsyncIterator[Scripted]:
    """A forward proxy: CONNECT opens a tunnel to loopback, an absolute request is passed on once."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def script(wire: Wire) -> None:
        head = (await wire.reader.readuntil(b"\r\n\r\n"))[:-4]
        request = Request(head, b"")
        wire.server.requests.append(request)
        if refusal:
            await wire.send(refusal)
            await wire.hung_up()
        if password is not None and request.all(b"proxy-authorization") != [password]:
            await wire.send(answer(407, b"", b"proxy-authenticate: Basic"))
            await wire.hung_up()
        method, where, _ = request.line.decode().split(" ")
        if method == "CONNECT":
            host, _, port = where.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            await wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n" + extra)
        else:
            host, _, port = where.removeprefix("http://").partition("/")[0].rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head + b"\r\n\r\n")
        try:
            await asyncio.gather(pump(wire.reader, writer), pump(reader, wire.writer))
        finally:
            writer.transport.abort()

    async with serving(script, tls=tls) as proxy:
        yield proxy


async def test_an_ipv6_upstream_is_reached_and_named_in_brackets():
    async with serving(replies(OK), host="::1") as server, upstreams(spec(server)) as upstream:
        got, _ = await fetch(upstream)
        assert got.status == 200
        assert server.requests[0].all(b"host") == [f"[::1]:{server.port}".encode()]


async def test_a_name_with_several_addresses_is_reached_at_the_one_that_answers():
    loop = asyncio.get_running_loop()
    async with serving(replies(OK)) as server:
        addresses = [
            (socket.AF_INET6, ("::1", 1, 0, 0)),
            (socket.AF_INET, ("127.0.0.1", 1)),
            (socket.AF_INET, ("127.0.0.1", server.port)),
        ]
        with await connect_first(loop, addresses) as sock:
            assert sock.getpeername()[1] == server.port


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        try:
            async with asyncio.timeout(5), serving(replies(OK)) as server:
                addresses = [(socket.AF_INET, full.getsockname()), (socket.AF_INET, ("127.0.0.1", server.port))]
                with await connect_first(asyncio.get_running_loop(), addresses) as sock:
                    assert sock.getpeername()[1] == server.port
        finally:
            for filler in fillers:
                filler.close()


async def test_no_address_answering_is_the_last_ones_error():
    addresses = [(socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET6, ("::1", 1, 0, 0))]
    with pytest.raises(ConnectionRefusedError):
        await connect_first(asyncio.get_running_loop(), addresses)


async def test_localhost_is_tried_on_both_families():
    async with serving(replies(OK)) as server, upstreams(spec(f"http://localhost:{server.port}")) as upstream:
        got, _ = await fetch(upstream)
    assert got.status == 200


def test_a_name_that_does_not_exist_is_said():
    # Asked of the mapping alone: a real lookup would leave this machine.
    limits = Limits(name="one", first_byte=1, idle=1, total=1, keep_alive=1, max_body=1, max_head=1)
    dialler = Dialler(
        Origin(secure=False, host="gone.example", port=80),
        limits,
        proxy=None,
        context=None,
        proxy_context=None,
        connect_timeout=1,
        tls_timeout=1,
    )
    failure = dialler._failure(socket.gaierror(-2, "Name or service not known"))
    assert isinstance(failure, UpstreamUnreachable)
    assert "gone.example:80: the name cannot be resolved (Name or service not known)" in str(failure)


@pytest.mark.parametrize("secure_proxy", [False, True], ids=["http-proxy", "https-proxy"])
async def test_an_https_upstream_is_reached_through_a_tunnel(
    *, authority: Authority, secure_proxy: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)  # the system's authorities, which the proxy is checked against
    tls = authority.server("127.0.0.1")
    async with (
        serving(replies(OK), tls=tls) as server,
        proxying(tls=tls if secure_proxy else None) as proxy,
        upstreams(spec(server, ca_file=authority.file, proxy=proxy.url)) as upstream,
    ):
        for _ in range(2):
            got, body = await fetch(upstream, get())
            assert (got.status, body) == (200, b"{}")
    (connect,) = proxy.requests
    assert connect.line == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode()
    assert [field[0] for field in connect.fields] == [b"host"], "nothing of the call is shown to the proxy"
    assert len(server.requests) == 2


async def test_an_http_upstream_is_asked_through_the_proxy_in_absolute_form(tmp_path: Path):
    secret = tmp_path / "proxy-password"
    secret.write_text("user:pa ss\n")
    async with (
        serving(replies(OK)) as server,
        proxying(password=b"Basic dXNlcjpwYSBzcw==") as proxy,
        upstreams(spec(server, proxy=proxy.url, proxy_auth_file=str(secret))) as upstream,
    ):
        got, _ = await fetch(upstream, get())
        assert got.status == 200
    (request,) = proxy.requests
    assert request.line == f"GET http://127.0.0.1:{server.port}/v1/models HTTP/1.1".encode()
    assert request.all(b"host") == [f"127.0.0.1:{server.port}".encode()]


async def test_a_proxy_with_a_password_from_the_environment_opens_the_tunnel(authority: Authority):
    async with (
        serving(replies(OK), tls=authority.server("127.0.0.1")) as server,
        proxying(password=b"Basic dXNlcjpzM2NyZXQ=") as proxy,
    ):
        one = spec(server, ca_file=authority.file, proxy=proxy.url, proxy_auth_env="PROXY_LOGIN")
        async with upstreams(one, environ={"PROXY_LOGIN": "user:s3cret"}) as upstream:
            got, _ = await fetch(upstream, get())
    assert got.status == 200


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (answer(407, b"", b"proxy-authenticate: Basic"), "proxy_auth_env"),
        (answer(403, b"not allowed"), "answered 403"),
        (b"220 smtp.example ESMTP\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000, "no end"),
    ],
)
async def test_a_proxy_that_refuses_is_said_and_nothing_reaches_the_upstream(
    authority: Authority, refusal: bytes, message: str
):
    async with (
        serving(replies(OK), tls=authority.server("127.0.0.1")) as server,
        proxying(refusal=refusal) as proxy,
        upstreams(spec(server, ca_file=authority.file, proxy=proxy.url), retry=ONCE) as upstream,
    ):
        with pytest.raises(UpstreamUnreachable, match=message) as failure:
            await fetch(upstream)
        assert upstream.health()[0].open_connections == 0
    assert not failure.value.sent
    assert server.connections == 0


async def test_a_proxy_that_speaks_inside_the_tunnel_first_is_refused(authority: Authority):
    async with (
        serving(replies(OK), tls=authority.server("127.0.0.1")) as server,
        proxying(extra=OK) as proxy,
        upstreams(spec(server, ca_file=authority.file, proxy=proxy.url), retry=ONCE) as upstream,
    ):
        with pytest.raises(UpstreamUnreachable, match="more than its answer"):
            await fetch(upstream)


async def test_a_proxy_that_hangs_up_or_falls_silent_ends_the_try(authority: Authority):
    async def hang_up(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")

    for script, message in ((hang_up, "hung up"), (Wire.hung_up, "connect_timeout")):
        async with serving(script) as proxy:
            url = "https://127.0.0.1:9"
            async with upstreams(spec(url, proxy=proxy.url, connect_timeout=0.1), retry=ONCE) as upstream:
                with pytest.raises(UpstreamError, match=message):
                    await fetch(upstream)


async def test_a_tunnel_to_the_wrong_server_is_found_out_by_its_certificate(authority: Authority):
    async with (
        serving(replies(OK), tls=authority.server("10.1.2.3")) as server,
        proxying() as proxy,
        upstreams(spec(server, ca_file=authority.file, proxy=proxy.url)) as upstream,
    ):
        with pytest.raises(UpstreamUnreachable, match="certificate was not accepted"):
            await fetch(upstream)
    assert server.requests == []


def chosen(url: str, environ: dict[str, str]) -> str | None:
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":")
    proxy = choose_proxy(
        setting=None, credential=None, secure=scheme == "https", host=host, port=int(port), environ=environ
    )
    return f"{proxy.host}:{proxy.port}" if proxy is not None else None


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://api.example:443", {"HTTPS_PROXY": "http://p:3128"}, "p:3128"),
        ("https://api.example:443", {"https_proxy": "q:1", "HTTPS_PROXY": "http://p:3128"}, "q:1"),
        ("https://api.example:443", {"HTTP_PROXY": "http://p:3128"}, None),
        ("http://api.example:80", {"HTTP_PROXY": "http://p:3128"}, "p:3128"),
        ("http://api.example:80", {"ALL_PROXY": "http://p"}, "p:80"),
        ("https://api.example:443", {"HTTPS_PROXY": "https://p"}, "p:443"),
        ("https://api.example:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://api.example:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other, example"}, None),
        ("https://api.example:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".EXAMPLE"}, None),
        ("https://api.example:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.example"}, None),
        ("https://api.example:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "i.example"}, "p:1"),
        ("https://api.example:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "api.example:8443"}, "p:1"),
        ("https://api.example:8443", {"HTTPS_PROXY": "http://p:1", "no_proxy": "api.example:8443"}, None),
        ("https://10.1.2.3:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://10.1.2.3:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.1.2.4"}, "p:1"),
        ("https://fd00::7:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, None),
        ("https://fd00::7:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "[fd00::7]:443"}, None),
        ("https://fd00::7:443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "[fd00::7]:444"}, "p:1"),
        ("http://127.0.0.1:80", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://localhost:80", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://::1:80", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://api.example:443", {"HTTPS_PROXY": "  "}, None),
    ],
)
def test_the_environments_proxies_are_read_as_everybody_reads_them(
    url: str, environ: dict[str, str], expected: str | None
):
    assert chosen(url, environ) == expected


@pytest.mark.parametrize("url", ["socks5://p:1080", "http://:3128", "http://p:99999", "ftp://p"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable_and_not_by_its_password(url: str):
    secret = url.replace("://", "://user:hunter2@")
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as failure:
        chosen("https://api.example:443", {"HTTPS_PROXY": secret})
    assert "hunter2" not in str(failure.value)


def test_a_proxys_password_is_decoded_sent_and_never_shown():
    proxy = choose_proxy(
        setting=None,
        credential=None,
        secure=True,
        host="api.example",
        port=443,
        environ={"HTTPS_PROXY": "http://us%40er:p%3Aw@p:3128"},
    )
    assert proxy is not None
    assert proxy.authorization == b"Basic dXNAZXI6cDp3"
    assert repr(proxy) == "Proxy(http://p:3128)"
