"""The state of the MCP door and of the servers behind it as metrics, read when somebody scrapes."""

from ai_platform.entrypoints.mcp.door import McpDoor
from ai_platform.mcp.federation import Federation
from ai_platform.telemetry import Meter


def register_mcp_gauges(meter: Meter, door: McpDoor, federation: Federation) -> None:
    server = ("server",)
    meter.gauge(
        "aip_mcp_server_up",
        "1 while the MCP server can be used.",
        lambda: {(one.name,): int(not one.problem) for one in federation.states()},
        labels=server,
    )
    meter.gauge(
        "aip_mcp_breaker_open",
        "1 while the circuit breaker of the MCP server is open.",
        lambda: {(one.name,): int(one.breaker == "open") for one in federation.states()},
        labels=server,
    )
    meter.gauge(
        "aip_mcp_connections",
        "Open connections to the MCP server.",
        lambda: {(one.name,): one.connections for one in federation.states()},
        labels=server,
    )
    meter.gauge(
        "aip_mcp_calls_waiting",
        "Calls that wait for room at the MCP server.",
        lambda: {(one.name,): one.waiting for one in federation.states()},
        labels=server,
    )
    meter.gauge("aip_mcp_sessions", "Sessions of MCP clients of 2025-11-25.", lambda: len(door.sessions))
    meter.gauge("aip_mcp_requests", "Requests and streams under way at the MCP door.", lambda: door.load.calls)
    meter.counter(
        "aip_mcp_turned_away_total", "Requests at the MCP door beyond its bounds.", lambda: door.load.turned_away
    )
    meter.gauge(
        "aip_mcp_waiting_for_client",
        "Calls of tools that wait for an answer of their client.",
        lambda: len(federation.waits),
    )
    meter.counter(
        "aip_mcp_notifications_dropped_total",
        "Progress and log messages that clients did not take in time.",
        lambda: {(one.name,): one.dropped for one in federation.states()},
        labels=server,
    )
