"""MCP servers that come with the platform: knowledge_base, deployments, prompts, zimbra, and the bridge.

Each is a program of its own, `python -m ai_platform.mcp_servers.NAME`, usable by any MCP host and through the gateway.
They import domain and documents, never a room of the gateway. All but the bridge need the extra `mcp`.
"""
