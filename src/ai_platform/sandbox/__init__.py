"""Runs programs that are not trusted: walls (bubblewrap), limits (rlimits), a sure end, bounded logs.

It knows nothing of MCP. Above: the wiring and commands. Below: domain.
"""

from ai_platform.sandbox.program import Folders, Limits, Program
from ai_platform.sandbox.sandbox import Sandbox

__all__ = ["Folders", "Limits", "Program", "Sandbox"]
