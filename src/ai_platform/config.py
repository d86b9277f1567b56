"""The configuration: one YAML file and a few environment variables, read once, into each room's own settings.

Above: bootstrap, cli. It decides nothing: a room's settings are described beside the room (`*/settings.py`), and
docs/configuration.md lists them all.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.approvals.settings import ApprovalSettings
from ai_platform.audit.settings import AuditSettings
from ai_platform.budget.settings import BudgetSettings
from ai_platform.documents import load
from ai_platform.domain.breaker import BreakerSettings
from ai_platform.domain.errors import ConfigError
from ai_platform.entrypoints.settings import ServerSettings
from ai_platform.identity.settings import IdentitySettings
from ai_platform.mcp.settings import McpSettings
from ai_platform.policy.settings import PolicySettings
from ai_platform.pricing.settings import PricingSettings
from ai_platform.protection import ProtectionSettings
from ai_platform.scim.settings import ScimSettings
from ai_platform.simulator import SimulatorSettings
from ai_platform.sso.settings import SsoSettings
from ai_platform.stores.settings import StoresSettings
from ai_platform.telemetry.settings import AlertSettings, LogSettings, MetricsSettings
from ai_platform.upstream.settings import RetrySettings, UpstreamSettings

DEFAULT_FILES = ("ai-platform.yaml", "ai-platform.yml")
ANTHROPIC_URL = "https://api.anthropic.com"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the platform is told. upstreams: in order of preference; none = the simulated upstream.

    data: the data folder. source: the file these settings came from, None for defaults.
    """

    server: ServerSettings = ServerSettings()
    data: Path = Path()
    stores: StoresSettings = StoresSettings()
    identity: IdentitySettings = IdentitySettings()
    sso: SsoSettings = SsoSettings()
    scim: ScimSettings = ScimSettings()
    policy: PolicySettings = PolicySettings()
    approvals: ApprovalSettings = ApprovalSettings()
    protection: ProtectionSettings = ProtectionSettings()
    pricing: PricingSettings = PricingSettings()
    budget: BudgetSettings = BudgetSettings()
    audit: AuditSettings = AuditSettings()
    upstreams: tuple[UpstreamSettings, ...] = ()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    mcp: McpSettings = McpSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogSettings = LogSettings()
    alerts: AlertSettings = AlertSettings()
    source: Path | None = None


def load_settings(
    config: Path | None,
    *,
    data: Path,
    host: str | None = None,
    port: int | None = None,
    upstream: str | None = None,
    policy: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of `config` (else `ai-platform.yaml` in the data folder, else defaults), with the given overrides.

    Raises:
        ConfigError: a file or value is wrong; the message names file, line, column and remedy.
    """
    environ = os.environ if environ is None else environ
    path = config or _default_file(data)
    settings = load(path, Settings) if path is not None else Settings()
    changes: dict[str, Any] = {"data": data.absolute(), "source": path}
    if host is not None or port is not None:
        changes["server"] = msgspec.structs.replace(
            settings.server,
            host=settings.server.host if host is None else host,
            port=settings.server.port if port is None else port,
        )
    if policy is not None:
        changes["policy"] = msgspec.structs.replace(settings.policy, file=policy.absolute())
    if (chosen := _upstreams(settings, upstream, environ)) is not None:
        changes["upstreams"] = chosen
    return msgspec.structs.replace(settings, **changes)


def _default_file(data: Path) -> Path | None:
    return next((data / name for name in DEFAULT_FILES if (data / name).is_file()), None)


def _upstreams(settings: Settings, url: str | None, environ: Mapping[str, str]) -> tuple[UpstreamSettings, ...] | None:
    """--upstream wins over the file; without either, ANTHROPIC_API_KEY alone means Anthropic's own API."""
    key_env = "ANTHROPIC_API_KEY"
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"--upstream {url!r} is not an http:// or https:// URL, such as {ANTHROPIC_URL}.")
        return (UpstreamSettings(name="upstream", url=url, api_key_env=key_env if environ.get(key_env) else None),)
    if settings.upstreams:
        return None
    if environ.get(key_env):
        return (UpstreamSettings(name="anthropic", url=ANTHROPIC_URL, api_key_env=key_env),)
    return None
