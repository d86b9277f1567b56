"""What an operator writes: checked with a sentence that says how to fix it; secrets stay out of sight."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from scripted import OK, Wire, answer, fetch, get, serving, spec, upstreams

from ai_platform.domain.breaker import BreakerSettings
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.route import Target
from ai_platform.testing import FakeClock
from ai_platform.upstream import Upstream, UpstreamsSettings
from ai_platform.upstream.adapters.anthropic import AnthropicAdapter
from ai_platform.upstream.settings import Auth, RetrySettings, UpstreamSettings

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-1")]


def loaded(text: str) -> UpstreamsSettings:
    return msgspec.convert(yaml.safe_load(text), UpstreamsSettings)


def test_a_file_as_an_operator_writes_it_is_understood():
    settings = loaded(
        """
        upstreams:
          - name: anthropic
            url: https://api.anthropic.com
            api_key_env: ANTHROPIC_API_KEY
          - name: eu
            url: https://llm.example.eu:8443/anthropic
            kind: anthropic
            auth: bearer
            api_key_file: /run/secrets/eu
            region: eu-west-1
            models: ["claude-*"]
            headers: {x-team: platform}
            headers_env: {x-tenant-key: TENANT_KEY}
            ca_file: /etc/ssl/company.pem
            client_cert_file: /etc/gateway.crt
            client_key_file: /etc/gateway.key
            proxy: http://proxy.example:3128
            proxy_auth_env: PROXY_LOGIN
            total_timeout: 1200
            max_connections: 200
        retry: {attempts: 2, retry_sent: false}
        breaker: {failures: 5, failure_rate: 0.5, open_seconds: 30}
        """
    )
    assert [upstream.name for upstream in settings.upstreams] == ["anthropic", "eu"]
    assert settings.upstreams[1].auth is Auth.BEARER
    first = settings.upstreams[0]
    assert (first.first_byte_timeout, first.idle_timeout, first.auth) == (600, 330, Auth.X_API_KEY)
    assert settings.retry == RetrySettings(attempts=2, retry_sent=False)
    assert settings.breaker == BreakerSettings(failures=5, failure_rate=0.5, open_seconds=30)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "no spaces"}, "letters, digits"),
        ({"url": "api.anthropic.com"}, "https://host"),
        ({"url": "ftp://host"}, "https://host"),
        ({"url": "https://"}, "https://host"),
        ({"url": "https://host:99999"}, "range"),
        ({"url": "https://host:0"}, "port 0"),
        ({"url": "https://host/v1?x=1"}, "no query"),
        ({"url": "https://host/#x"}, "no query"),
        ({"url": "https://h\u00f6st"}, "xn--"),
        ({"url": f"https://{'x' * 64}.example"}, "host name"),
        ({"url": "https://a..b"}, "host name"),
        ({"url": "https://host/a b"}, "percent-encode"),
        ({"url": "https://user:hunter2@host"}, "api_key_env"),
        ({"api_key_env": "A", "api_key_file": "/a"}, "exclude each other"),
        ({"proxy_auth_env": "A", "proxy_auth_file": "/a"}, "exclude each other"),
        ({"auth": "passthrough", "api_key_env": "A"}, "passthrough"),
        ({"client_key_file": "/k"}, "client_cert_file"),
        ({"proxy": "http://user:hunter2@p:1"}, "proxy_auth_env"),
        ({"headers": {"Authorization": "x"}}, "lower-case"),
        ({"headers": {"authorization": "x"}}, "credential"),
        ({"headers": {"content-length": "5"}}, "frames"),
        ({"headers": {"transfer-encoding": "chunked"}}, "frames"),
        ({"headers_env": {"x-api-key": "A"}}, "credential"),
        ({"headers": {"x-a": "1\r\nx-b: 2"}}, "one line"),
        ({"idle_timeout": 0}, "idle_timeout"),
        ({"first_byte_timeout": -1}, "first_byte_timeout"),
        ({"total_timeout": 0}, "total_timeout"),
        ({"max_connections": 0}, "max_connections"),
        ({"keep_alive": -1}, "keep_alive"),
        ({"verify": False}, "verify"),
        ({"api_key": "sk-ant-in-clear"}, "api_key"),
    ],
)
def test_a_mistake_is_refused_with_a_sentence_and_without_the_secret(changes: dict[str, Any], sentence: str):
    document = {"upstreams": [{"name": "one", "url": "https://host", **changes}]}
    with pytest.raises(msgspec.ValidationError, match=sentence) as failure:
        msgspec.convert(document, UpstreamsSettings)
    assert "upstreams[0]" in str(failure.value)
    assert "hunter2" not in str(failure.value)
    assert "sk-ant" not in str(failure.value)


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("retry", {"attempts": 0}),
        ("retry", {"base": -1}),
        ("retry", {"attemps": 3}),
        ("breaker", {"failures": 0}),
        ("breaker", {"failure_rate": 2}),
        ("breaker", {"open_seconds": 0}),
        ("breaker", {"statuses": [429]}),
    ],
)
def test_retry_and_breaker_settings_are_checked(section: str, changes: dict[str, Any]):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({section: changes}, UpstreamsSettings)


def test_two_upstreams_cannot_share_a_name():
    with pytest.raises(msgspec.ValidationError, match="one stands twice"):
        loaded("upstreams: [{name: one, url: 'https://a'}, {name: one, url: 'https://b'}]")


def started(environ: dict[str, str] | None = None, **changes: Any) -> Upstream:
    settings = UpstreamsSettings(upstreams=(UpstreamSettings(name="one", url="http://127.0.0.1:9", **changes),))
    return Upstream(settings, FakeClock(), environ=environ or {})


@pytest.mark.parametrize(
    ("changes", "environ", "message"),
    [
        ({"api_key_env": "MISSING"}, {}, "MISSING is missing or empty"),
        ({"api_key_env": "EMPTY"}, {"EMPTY": " \n"}, "EMPTY is missing or empty"),
        ({"api_key_env": "TWO"}, {"TWO": "hunter2\nhunter3"}, "one line"),
        ({"api_key_file": "/missing/key"}, {}, "/missing/key"),
        ({"headers_env": {"x-a": "MISSING"}}, {}, "MISSING"),
        ({"proxy": "http://p:1", "proxy_auth_env": "MISSING"}, {}, "MISSING"),
        ({"kind": "bedrok"}, {}, "use anthropic"),
        ({"proxy": "socks5://p:1"}, {}, "HTTP proxies"),
    ],
)
def test_what_is_missing_stops_the_start_and_says_what_it_is(
    changes: dict[str, Any], environ: dict[str, str], message: str
):
    with pytest.raises(ConfigError, match=message) as failure:
        started(environ, **changes)
    assert "hunter2" not in str(failure.value)


def test_no_object_shows_a_secret_in_its_repr(tmp_path: Path):
    (tmp_path / "key").write_text("hunter2-file")
    environ = {"KEY": "hunter2-env", "LOGIN": "user:hunter2-login", "EXTRA": "hunter2-extra"}
    upstream = started(
        environ, api_key_env="KEY", proxy="http://p:1", proxy_auth_env="LOGIN", headers_env={"x-a": "EXTRA"}
    )
    peer = upstream._peers["one"]
    adapter = peer.adapter
    assert isinstance(adapter, AnthropicAdapter)
    shown = " ".join(map(repr, (upstream, peer, peer.settings, adapter, adapter._credential, *upstream.health())))
    assert "hunter2" not in shown
    request = adapter.outgoing(get(), Target(name="one"))
    assert b"hunter2-env" in request.head
    assert "hunter2" not in repr(request)
    by_file = started(api_key_file=str(tmp_path / "key"))
    assert "hunter2" not in repr(by_file._peers["one"].adapter)
    assert "***" in repr(by_file._peers["one"].adapter._credential)


async def keyed(wire: Wire) -> None:
    while True:
        request = await wire.request()
        good = request.all(b"x-api-key") == [b"new-key"]
        await wire.send(OK if good else answer(401, b"invalid x-api-key", b"request-id: req_401"))


async def test_a_key_file_is_read_again_after_a_401_and_the_call_goes_through(tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("old-key\n")
    async with serving(keyed) as server, upstreams(spec(server, api_key_file=str(key))) as upstream:
        key.write_text("new-key\n")
        got, _ = await fetch(upstream)
        again, _ = await fetch(upstream)
    assert [attempt.status for attempt in got.facts["attempts"]] == [401, 200]
    assert [attempt.status for attempt in again.facts["attempts"]] == [200]


async def test_many_refused_calls_at_once_all_take_the_new_key(tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("old-key")
    async with serving(keyed) as server, upstreams(spec(server, api_key_file=str(key))) as upstream:
        key.write_text("new-key")
        results = await asyncio.gather(*(fetch(upstream, get()) for _ in range(20)))
    assert [got.status for got, _ in results] == [200] * 20


@pytest.mark.parametrize("content", ["old-key", "", None])
async def test_a_401_with_no_newer_key_is_the_callers_word_for_word(tmp_path: Path, content: str | None):
    key = tmp_path / "key"
    key.write_text("old-key")
    async with serving(keyed) as server, upstreams(spec(server, api_key_file=str(key))) as upstream:
        if content is None:
            key.unlink()
        else:
            key.write_text(content)
        got, body = await fetch(upstream)
    assert (got.status, body, got.header(b"request-id")) == (401, b"invalid x-api-key", b"req_401")
    assert len(server.requests) == 1


async def test_a_key_from_the_environment_is_not_read_again():
    environ = {"KEY": "old-key"}
    async with serving(keyed) as server, upstreams(spec(server, api_key_env="KEY"), environ=environ) as upstream:
        environ["KEY"] = "new-key"
        got, _ = await fetch(upstream)
    assert got.status == 401
    assert len(server.requests) == 1
