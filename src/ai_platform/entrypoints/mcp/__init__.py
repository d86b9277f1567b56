"""The second door: MCP at `/mcp` (all servers) and `/mcp/NAME` (one), for clients of both protocol eras.

Needs the MCP SDK; only the wiring imports it. Below: gateway, the mcp room.
"""
