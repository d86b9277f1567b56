"""`python -m ai_platform.simulator.zimbra`: the simulated Zimbra as a program of its own."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ai_platform.simulator.zimbra.home import furnish
from ai_platform.simulator.zimbra.server import serve_zimbra
from ai_platform.simulator.zimbra.site import example


async def _run(port: int, home: Path | None) -> None:
    site = example()
    if home is not None:
        furnish(home, site)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve_zimbra(site, port=port, home=home) as running:
        sys.stdout.write(
            f"Simulated Zimbra (no mail server behind it) on {running.url}\n"
            f"sign in as {site.administrator} with the password {site.password}\n"
        )
        sys.stdout.flush()
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGINT or SIGTERM. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ai_platform.simulator.zimbra",
        description="A simulated Zimbra on loopback: admin API, and with --home the tools and logs of a host.",
    )
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="make a simulated /opt/zimbra there")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options.port, options.home.resolve() if options.home else None))
    except OSError as error:
        sys.stderr.write(f"The simulated Zimbra cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
