"""One file per kind of server. A new kind is a file with a class that satisfies `Adapter`, and a row in KINDS.

An adapter decides URL, credential headers and the mapping of body and answer; it neither connects nor retries.
"""

from collections.abc import Mapping

from ai_platform.domain.errors import ConfigError
from ai_platform.upstream.adapters.adapter import Adapter, AdapterFactory
from ai_platform.upstream.adapters.anthropic import AnthropicAdapter
from ai_platform.upstream.settings import UpstreamSettings

KINDS: Mapping[str, AdapterFactory] = {"anthropic": AnthropicAdapter}


def make_adapter(settings: UpstreamSettings, environ: Mapping[str, str], *, via: bytes, via_lines: bytes) -> Adapter:
    """The adapter for `settings.kind`.

    via, via_lines: what an HTTP proxy needs in each request (see AdapterFactory); empty otherwise.

    Raises:
        ConfigError: an unknown kind, or a secret that is not there.

    """
    factory = KINDS.get(settings.kind)
    if factory is None:
        known = ", ".join(sorted(KINDS))
        raise ConfigError(f"kind {settings.kind!r} is not known; use {known}", where=f"upstream {settings.name!r}")
    return factory(settings, environ, via=via, via_lines=via_lines)


__all__ = ["KINDS", "Adapter", "make_adapter"]
