"""`python -m ai_platform.mcp_servers.zimbra`."""

from ai_platform.mcp_servers.launch import launch

if __name__ == "__main__":
    raise SystemExit(launch("zimbra"))
