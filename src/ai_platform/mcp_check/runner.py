"""All checks of one server, in the order in which a failure makes the next ones pointless."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.mcp_check.doors import check_doors
from ai_platform.mcp_check.official import check_conformance
from ai_platform.mcp_check.protocol import check_protocol
from ai_platform.mcp_check.reach import Target
from ai_platform.mcp_check.report import Report
from ai_platform.mcp_check.security import check_security
from ai_platform.mcp_check.tools import check_tools
from ai_platform.sandbox import Folders


async def check_server(
    target: Target, *, calls: Mapping[str, dict[str, Any]], conformance: Path | None = None
) -> Report:
    """calls: tools to call in any case. conformance: where the official suite is installed.

    Raises:
        ConfigError: the program cannot or must not be run here.

    """
    report = Report(target.name)
    with ExitStack() as stack:
        canary: Path | None = None
        if target.program is not None and target.sandbox is not None:
            await target.sandbox.ready()
            canary = _open_folder(stack)
            folders = target.program.folders
            seen = Folders(read=folders.read, write=(*folders.write, str(canary)))
            target = msgspec.structs.replace(target, program=msgspec.structs.replace(target.program, folders=seen))
            assert target.program is not None
            assert target.sandbox is not None
            target.sandbox.check(target.program)
        offer = await check_protocol(target, report)
        if offer is None:
            return report
        await check_tools(target, offer, calls, report)
        await check_security(target, offer, canary, report)
        if target.url:
            await check_doors(target, report)
        await check_conformance(target, offer, conformance, report)
    return report


def _open_folder(stack: ExitStack) -> Path:
    """Inside the sandbox the program may be another user."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-canary-"))).resolve()
    folder.chmod(0o777)
    return folder
