"""The only place where objects meet: settings in, a running platform out. One file for each area; `platform` reads
top to bottom in the order things start, and they stop in the opposite order. Above: cli.
"""

from ai_platform.bootstrap.platform import Platform, running_platform

__all__ = ["Platform", "running_platform"]
