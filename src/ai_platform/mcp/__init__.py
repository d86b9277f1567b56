"""The servers behind the second door: one interface over many MCP servers of both protocol eras.

Settings and Protocols need no MCP SDK; `federation` and what it is made of do, and are imported by the wiring only.
Above: gateway, entrypoints. Below: domain.
"""

from ai_platform.mcp.settings import McpServerSettings, McpSettings

__all__ = ["McpServerSettings", "McpSettings"]
