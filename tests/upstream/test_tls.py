"""TLS is verified, always: own authorities, client certificates, host names and dates."""

import asyncio
from pathlib import Path

import pytest
from authority import Authority
from scripted import (
    CHUNKED,
    END,
    OK,
    Wire,
    answer,
    call,
    chunk,
    fetch,
    replies,
    route,
    serving,
    spec,
    until,
    upstreams,
)

from ai_platform.domain.errors import ConfigError, UpstreamError, UpstreamUnreachable

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-1")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def test_calls_go_over_tls_signed_by_the_authority_in_ca_file_and_the_connection_is_kept(authority: Authority):
    async with (
        serving(replies(OK), tls=authority.server("127.0.0.1")) as server,
        upstreams(spec(server, ca_file=authority.file)) as upstream,
    ):
        for _ in range(3):
            got, body = await fetch(upstream)
            assert (got.status, body) == (200, b"{}")
    assert server.connections == 1


@pytest.mark.parametrize(
    ("names", "days", "reason"),
    [
        (("127.0.0.2",), (-1, 1), "mismatch"),
        (("evil.example",), (-1, 1), "mismatch"),
        (("127.0.0.1",), (-3, -2), "expired"),
        (("127.0.0.1",), (1, 2), "not yet valid"),
    ],
)
async def test_a_certificate_for_another_name_or_another_time_is_refused_without_a_retry(
    authority: Authority, names: tuple[str, ...], days: tuple[int, int], reason: str
):
    async with (
        serving(replies(OK), tls=authority.server(*names, days=days)) as server,
        upstreams(spec(server, ca_file=authority.file)) as upstream,
    ):
        with pytest.raises(UpstreamUnreachable, match=reason) as failure:
            await fetch(upstream)
    assert len(failure.value.attempts) == 1
    assert not failure.value.sent
    assert server.requests == []


async def test_an_unknown_authority_is_refused_and_the_message_names_the_setting(authority: Authority, tmp_path: Path):
    stranger = Authority(tmp_path, "stranger")
    async with (
        serving(replies(OK), tls=authority.server("127.0.0.1")) as server,
        upstreams(spec(server), spec(server, "two", ca_file=stranger.file)) as upstream,
    ):
        for name in ("one", "two"):
            with pytest.raises(UpstreamUnreachable, match="ca_file"):
                await fetch(upstream, to=route(name))
    assert server.requests == []


async def test_an_upstream_without_tls_is_not_spoken_to_in_clear(authority: Authority):
    async def script(wire: Wire) -> None:
        await wire.send(answer(400, b"speak HTTP"))
        await wire.hung_up()

    async with serving(script) as server:
        url = server.url.replace("http:", "https:")
        async with upstreams(spec(url, ca_file=authority.file)) as upstream:
            with pytest.raises(UpstreamUnreachable, match="TLS failed"):
                await fetch(upstream)
    assert server.requests == []


async def test_a_client_certificate_is_shown(authority: Authority):
    certificate, key = authority.issue("gateway", client=True)
    async with serving(replies(OK), tls=authority.server("127.0.0.1", ask_client=True)) as server:
        known = spec(server, ca_file=authority.file, client_cert_file=certificate, client_key_file=key)
        unknown = spec(server, "two", ca_file=authority.file)
        async with upstreams(known, unknown) as upstream:
            got, _ = await fetch(upstream)
            assert got.status == 200
            with pytest.raises(UpstreamError):
                await fetch(upstream, to=route("two"))
    assert len(server.requests) == 1


async def test_a_stream_over_tls_is_delivered_event_by_event_and_a_hang_up_closes_it(authority: Authority):
    taken = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        for number in range(3):
            await wire.send(chunk(b"event %d" % number))
            await taken.wait()
            taken.clear()
        await wire.hung_up()
        wire.server.log.append("hung up")

    async with (
        asyncio.timeout(10),
        serving(script, tls=authority.server("127.0.0.1")) as server,
        upstreams(spec(server, ca_file=authority.file)) as upstream,
    ):
        async with upstream.open(route(), call()) as given:
            for number in range(3):
                assert await anext(given.body) == b"event %d" % number
                taken.set()
        await until(lambda: server.log)


async def test_large_bodies_pass_both_ways_over_tls(authority: Authority):
    body = bytes(range(256)) * 20_000

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await wire.send(CHUNKED, chunk(request.body), END)

    async with (
        serving(script, tls=authority.server("127.0.0.1")) as server,
        upstreams(spec(server, ca_file=authority.file)) as upstream,
    ):
        for _ in range(2):
            assert (await fetch(upstream, call(body=body)))[1] == body


async def test_files_that_cannot_be_used_stop_the_start_and_are_named(authority: Authority, tmp_path: Path):
    _, key = authority.issue("locked", client=True, passphrase=b"secret")
    certificate, _ = authority.issue("open", client=True)
    junk = tmp_path / "junk.pem"
    junk.write_text("not a certificate")
    url = "https://127.0.0.1:1"
    for changes in (
        {"ca_file": str(junk)},
        {"ca_file": "/missing.pem"},
        {"client_cert_file": "/missing.pem"},
        {"client_cert_file": certificate, "client_key_file": key},
        {"client_cert_file": str(junk)},
    ):
        with pytest.raises(ConfigError, match=next(iter(changes.values()))):
            async with upstreams(spec(url, **changes)):
                pass
