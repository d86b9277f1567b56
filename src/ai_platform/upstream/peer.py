"""One configured upstream with everything that hangs on it: adapter, pool, breaker, counts."""

import math
from collections.abc import Mapping

import msgspec

from ai_platform.domain.breaker import Breaker, BreakerState
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamError
from ai_platform.upstream.adapters import make_adapter
from ai_platform.upstream.credential import read_secret
from ai_platform.upstream.dial import Dialler, Origin
from ai_platform.upstream.pool import Pool
from ai_platform.upstream.proxy import Proxy, choose_proxy
from ai_platform.upstream.settings import BreakerSettings, UpstreamSettings
from ai_platform.upstream.tls import client_context, system_context
from ai_platform.upstream.wire import Limits


class UpstreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of one upstream, for readiness, metrics and people.

    retry_in: seconds until an open breaker lets a probe through. last_error: a sentence without secrets, "" = none
    yet; last_error_at: wall time. The counts grow from the start of the process: calls = asked of this upstream,
    tries = requests sent or attempted for them, failures = tries that counted against it, stale = kept connections
    found closed on use, opened = times the breaker opened, refused = calls it kept away.
    """

    name: str
    kind: str
    region: str
    breaker: BreakerState
    retry_in: float
    open_connections: int
    idle_connections: int
    in_flight: int
    waiting: int
    calls: int
    tries: int
    failures: int
    stale: int
    opened: int
    refused: int
    last_error: str
    last_error_at: float | None


class Peer:
    """Made once per upstream; `opening.py` drives it."""

    def __init__(
        self, settings: UpstreamSettings, breaker: BreakerSettings, clock: Clock, environ: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self.breaker = Breaker(breaker, clock)
        self.failing = frozenset(breaker.statuses)
        self._clock = clock
        origin, proxy = _origin(settings), _proxy(settings, environ)
        plain_proxy = proxy is not None and not origin.secure
        self.adapter = make_adapter(
            settings,
            environ,
            via=f"http://{origin.authority}".encode() if plain_proxy else b"",
            via_lines=_proxy_lines(proxy) if plain_proxy else b"",
        )
        dialler = Dialler(
            origin,
            _limits(settings),
            proxy=proxy,
            context=client_context(settings) if origin.secure else None,
            proxy_context=system_context() if proxy is not None and proxy.secure else None,
            connect_timeout=settings.connect_timeout,
            tls_timeout=settings.tls_timeout,
        )
        self.pool = Pool(
            settings.name,
            dialler.dial,
            size=settings.max_connections,
            queue=settings.max_waiting,
            patience=settings.wait_timeout,
        )
        self.calls = self.tries = self.failures = self.stale = 0
        self._last_error = ""
        self._last_error_at: float | None = None

    def failed(self, error: str | UpstreamError) -> None:
        """Count a failure that says something about this upstream."""
        self.failures += 1
        self._last_error = str(error)
        self._last_error_at = self._clock.now()

    def health(self) -> UpstreamHealth:
        settings, pool, breaker = self.settings, self.pool, self.breaker
        return UpstreamHealth(
            name=settings.name,
            kind=settings.kind,
            region=settings.region,
            breaker=breaker.state,
            retry_in=breaker.retry_in(),
            open_connections=pool.open,
            idle_connections=pool.idle,
            in_flight=pool.open - pool.idle,
            waiting=pool.waiting,
            calls=self.calls,
            tries=self.tries,
            failures=self.failures,
            stale=self.stale,
            opened=breaker.opened,
            refused=breaker.refused,
            last_error=self._last_error,
            last_error_at=self._last_error_at,
        )


def _origin(settings: UpstreamSettings) -> Origin:
    address = settings.address()
    secure = address.scheme == "https"
    return Origin(secure, address.hostname or "", address.port or (443 if secure else 80))


def _proxy(settings: UpstreamSettings, environ: Mapping[str, str]) -> Proxy | None:
    origin = _origin(settings)
    credential = read_secret(
        settings.proxy_auth_env, settings.proxy_auth_file, environ, where=f"upstream {settings.name!r}"
    )
    return choose_proxy(
        setting=settings.proxy,
        credential=credential,
        secure=origin.secure,
        host=origin.host,
        port=origin.port,
        environ=environ,
    )


def _proxy_lines(proxy: Proxy | None) -> bytes:
    if proxy is None or proxy.authorization is None:
        return b""
    return b"proxy-authorization: %b\r\n" % proxy.authorization


def _limits(settings: UpstreamSettings) -> Limits:
    return Limits(
        name=settings.name,
        first_byte=settings.first_byte_timeout,
        idle=settings.idle_timeout,
        total=math.inf if settings.total_timeout is None else settings.total_timeout,
        keep_alive=settings.keep_alive,
        max_body=settings.max_response_bytes,
        max_head=settings.max_header_bytes,
    )
