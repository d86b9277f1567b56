"""`python -m ai_platform.mcp_servers.bridge -- COMMAND ARGUMENTS`."""

from ai_platform.mcp_servers.launch import launch

if __name__ == "__main__":
    raise SystemExit(launch("bridge"))
