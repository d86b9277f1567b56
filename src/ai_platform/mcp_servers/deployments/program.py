"""Command line of the deployments."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp.server.lowlevel import Server

from ai_platform.domain.clock import SystemClock
from ai_platform.mcp_servers.caller import Callers
from ai_platform.mcp_servers.deployments.claims import Claims
from ai_platform.mcp_servers.deployments.journal import Journal
from ai_platform.mcp_servers.deployments.notify import Notifier
from ai_platform.mcp_servers.deployments.operator import Operator
from ai_platform.mcp_servers.deployments.plan import load, webhook
from ai_platform.mcp_servers.deployments.server import Deployments
from ai_platform.mcp_servers.serving import Closing, add_options, read_options, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until the client leaves or a signal. Raises ConfigError."""
    parser = argparse.ArgumentParser(
        prog="python -m ai_platform.mcp_servers.deployments",
        description="Deploys and rolls back services by the commands of one YAML file.",
    )
    parser.add_argument("--file", type=Path, required=True, metavar="FILE", help="the deployments file")
    parser.add_argument(
        "--caller-from-meta",
        action="store_true",
        help="every request names its caller in _meta: for a gateway that starts this program",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    serving = read_options(options)
    path = options.file.resolve()
    plan = load(path)
    url = webhook(plan)

    async def prepare() -> tuple[Server[Any], Closing]:
        clock = SystemClock()
        operator = Operator(
            plan,
            path.parent,
            journal=Journal(path.parent / plan.audit, clock),
            claims=Claims(path.parent / plan.state),
            notifier=Notifier(url, plan.notify.channel if plan.notify else ""),
            clock=clock,
        )
        callers = Callers(plan.identity, trusted=bool(serving.token), from_meta=options.caller_from_meta)
        return Deployments(operator, callers).server(), operator.close

    return run(serving, prepare)
