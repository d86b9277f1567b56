"""Where calls go: the configured upstreams; without any, the simulator, embedded in this process."""

from ai_platform.bootstrap.base import Base
from ai_platform.routing import Router
from ai_platform.routing.router import Choice
from ai_platform.simulator import serve
from ai_platform.upstream import Upstream, UpstreamsSettings
from ai_platform.upstream.settings import UpstreamSettings

SIMULATED = "simulated"
SIMULATOR_KEY = "SIMULATOR_KEY"


async def upstreams_of(base: Base) -> tuple[tuple[UpstreamSettings, ...], Upstream]:
    settings, environ = base.settings, base.environ
    chosen = settings.upstreams
    if not chosen:
        simulator = await base.stack.enter_async_context(serve(settings.simulator))
        chosen = (UpstreamSettings(name=SIMULATED, url=simulator.url, api_key_env=SIMULATOR_KEY, proxy="direct"),)
        environ = {**environ, SIMULATOR_KEY: "simulated"}
    upstream = Upstream(
        UpstreamsSettings(upstreams=chosen, retry=settings.retry, breaker=settings.breaker), base.clock, environ=environ
    )
    base.stack.push_async_callback(upstream.close)
    return chosen, upstream


def router_of(upstreams: tuple[UpstreamSettings, ...]) -> Router:
    return Router([_choice(one) for one in upstreams])


def _choice(settings: UpstreamSettings) -> Choice:
    return Choice(
        name=settings.name,
        platform=settings.kind,
        region=settings.region,
        models=settings.models or ("*",),
        rename=settings.rename,
        tenants=settings.tenants,
    )
