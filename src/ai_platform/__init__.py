"""ai-platform: a governed gateway for Claude (Messages API) and tools (Model Context Protocol)."""

from importlib.metadata import version

__version__ = version("ai-platform")
