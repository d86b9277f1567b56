"""A running platform, put together in the order things start. Above: cli. Below: the other files of this package."""

import importlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ai_platform.audit.reader import AuditReader
from ai_platform.bootstrap.accounts import accounts_mount, manages_accounts
from ai_platform.bootstrap.administration import administration
from ai_platform.bootstrap.base import Base, base_of
from ai_platform.bootstrap.callers import Callers, callers_of
from ai_platform.bootstrap.core import Core, core_of
from ai_platform.bootstrap.serving import checks_of, serving, url_of, write_run_file
from ai_platform.bootstrap.sign_in import register_sign_in_gauges
from ai_platform.bootstrap.upstreams import SIMULATED
from ai_platform.config import Settings
from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.extras import only_missing
from ai_platform.entrypoints.asgi import Application
from ai_platform.entrypoints.gauges import register_door_gauges
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.messages import MessagesDoor
from ai_platform.entrypoints.operations import Operations
from ai_platform.entrypoints.server import Server, bind
from ai_platform.entrypoints.signin import MyAccounts, sign_in_handlers
from ai_platform.entrypoints.signin.claude_code import ClaudeCode
from ai_platform.policy import PolicyStore
from ai_platform.sso.managed import Managed
from ai_platform.telemetry import Meter, configure_logging
from ai_platform.upstream.settings import UpstreamSettings

try:
    from ai_platform.bootstrap import tools
except ImportError as error:  # without the extra `mcp` there is no second door
    only_missing(error, "mcp", "mcp_types", "pydantic")
    tools = None


class Platform:
    """A running platform, as the command that started it sees it."""

    def __init__(
        self,
        *,
        url: str,
        admin_key: str,
        new_admin_key: bool,
        upstreams: tuple[UpstreamSettings, ...],
        policies: PolicyStore,
        server: Server,
    ) -> None:
        self.url = url
        self.admin_key = admin_key
        self.new_admin_key = admin_key if new_admin_key else None
        self.simulated = any(upstream.name == SIMULATED for upstream in upstreams)
        self._upstreams = upstreams
        self._policies = policies
        self._server = server

    @property
    def upstream_text(self) -> str:
        names = ", ".join(f"{upstream.name} ({upstream.url})" for upstream in self._upstreams)
        return f"[yellow]{names}[/]" if self.simulated else names

    @property
    def policy_text(self) -> str:
        return f"{self._policies.source} (version {self._policies.version})"

    def hurry(self) -> None:
        """Do not wait for calls under way."""
        self._server.force_exit = True


@asynccontextmanager
async def running_platform(
    settings: Settings, environ: Mapping[str, str], clock: Clock | None = None
) -> AsyncGenerator[Platform]:
    """Everything started and serving while the block runs.

    Raises:
        ConfigError: a setting, file or folder is wrong; the message says how to mend it.
        StoreUnavailable, AuditUnavailable: PostgreSQL cannot be used.
        OSError: the address cannot be listened on.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        log = configure_logging(settings.logs)
        stack.push_async_callback(log.aclose)
        listener = bind(settings.server.host, settings.server.port)
        stack.callback(listener.close)
        url = settings.server.public_url or url_of(settings.server.host, listener.getsockname()[1])
        base = await base_of(stack, settings, environ, clock, url=url)
        callers = await callers_of(base)
        core = await core_of(base, callers, log)
        door = MessagesDoor(core.gateway, clock, settings.server)
        reader = AuditReader.open(base.database, base.system, settings.data, settings.audit, clock)
        operations = Operations(
            core.meter,
            checks_of(base.database, base.trail, core.upstream),
            simulated=core.upstreams[0].name == SIMULATED,
            url=url,
            is_public=bool(settings.server.public_url),
        )
        pages = _sign_in(base, callers, core)
        mounts = {
            "/admin/": administration(base, callers, core, reader),
            **await _tools(base, callers, core),
            **accounts_mount(pages),
            **_provisioning(base, callers, core.meter),
        }
        server = Server(Application(door, operations, handlers=pages, mounts=mounts), settings.server)
        register_door_gauges(core.meter, door.load, server.traffic)
        await serving(stack, server, listener, reader)
        write_run_file(stack, settings.data, url)
        yield Platform(
            url=url,
            admin_key=callers.admin_key,
            new_admin_key=callers.is_new,
            upstreams=core.upstreams,
            policies=base.policies,
            server=server,
        )


def _provisioning(base: Base, callers: Callers, meter: Meter) -> dict[str, Handler]:
    if not base.settings.scim.enabled:
        return {}
    scim = scim_wiring()
    if scim is None:
        raise ConfigError('scim.enabled needs an extra: pip install "ai-platform[scim]"')
    return scim.scim_door(base, callers, meter)


def scim_wiring() -> Any:
    """`bootstrap.scim`, None without the extra `scim`. Loaded only where it is served: its models cost a start
    0.7 s of CPU.
    """
    try:
        return importlib.import_module("ai_platform.bootstrap.scim")
    except ImportError as error:
        only_missing(error, "scim2_server", "scim2_models", "pydantic")
        return None


async def _tools(base: Base, callers: Callers, core: Core) -> dict[str, Handler]:
    if tools is None or core.servers is None:
        return {}
    return await tools.tools_door(base, core.gateway, core.servers.federation, core.meter, signon=callers.signon)


def _sign_in(base: Base, callers: Callers, core: Core) -> dict[tuple[str, str], Handler]:
    claude_code = ClaudeCode(
        callers.authenticator,
        Managed(base.settings.sso.managed),
        budget=core.budget,
        ledger=core.ledger,
        policies=base.policies,
        clock=base.clock,
    )
    register_sign_in_gauges(core.meter, callers.signing_in)
    mine = MyAccounts(core.servers.accounts, manages_accounts(base)) if core.servers else None
    return sign_in_handlers(callers.signon, claude_code, base.trail, core.meter, base.clock, accounts=mine)
