"""`python -m ai_platform.mcp_servers.knowledge_base`."""

from ai_platform.mcp_servers.launch import launch

if __name__ == "__main__":
    raise SystemExit(launch("knowledge_base"))
