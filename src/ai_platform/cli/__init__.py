"""The command line: thin commands, one file a topic, that talk to a running platform or start one."""

from ai_platform.cli.app import app, main

__all__ = ["app", "main"]
