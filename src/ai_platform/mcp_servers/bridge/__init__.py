"""Observability bridge: stands between an MCP host and any stdio server, forwards the bytes, and records tool calls.

Spans `mcp.tool.NAME`, metrics and audit lines as JSON lines, or to an OpenTelemetry collector. Needs no MCP SDK.
Neither arguments nor results are recorded, only their sizes. Below: domain.
"""
