"""A conformance suite for gateways in front of the Claude API, seen from Claude Code: what it sends and what it needs.

`run(Target(url=…, key=…), upstream)` scores any gateway. Not a load test, and not a test of the model. Above: cli.
Below: domain only.
"""

from ai_platform.conformance.case import Target
from ai_platform.conformance.runner import Report, recording_upstream, run

__all__ = ["Report", "Target", "recording_upstream", "run"]
