"""Starts one of the servers; says how to install the SDK when it is missing, and what is wrong with the settings."""

import importlib
import sys

from ai_platform.domain.errors import ConfigError

_SDK = {"mcp", "mcp_types"}
_REMEDY = "This server needs the MCP SDK, which is not installed. Install it with: pip install 'ai-platform[mcp]'\n"


def launch(name: str) -> int:
    """Run `ai_platform.mcp_servers.NAME.program:main` with the process's arguments. Returns the exit code."""
    try:
        program = importlib.import_module(f"ai_platform.mcp_servers.{name}.program")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SDK:
            raise
        sys.stderr.write(_REMEDY)
        return 2
    try:
        return program.main(sys.argv[1:])
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
