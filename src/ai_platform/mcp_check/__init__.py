"""Tries an MCP server out before anybody relies on it: the protocol, its tools, and what an attacker would try.

A program of its own, run by `ai-platform mcp test`. Needs the extra `mcp`. Above: cli. Below: mcp (trust), sandbox.
"""

from ai_platform.mcp_check.report import Check, Outcome, Report
from ai_platform.mcp_check.runner import check_server

__all__ = ["Check", "Outcome", "Report", "check_server"]
