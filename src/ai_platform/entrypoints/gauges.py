"""What the listening side counts, as metrics: read when somebody scrapes."""

from ai_platform.entrypoints.connection import Traffic
from ai_platform.entrypoints.load import Load
from ai_platform.telemetry import Meter


def register_door_gauges(meter: Meter, load: Load, traffic: Traffic) -> None:
    meter.gauge("aip_calls_open", "Calls under way, from the first byte of the request on.", lambda: load.calls)
    meter.gauge("aip_request_bytes_held", "Bytes of request bodies of calls under way.", lambda: load.held_bytes)
    meter.counter(
        "aip_calls_turned_away_total", "Calls refused because too many were under way.", lambda: load.turned_away
    )
    meter.counter("aip_connections_refused_total", "Connections over the limit.", lambda: traffic.refused)
    meter.counter(
        "aip_requests_malformed_total", "Requests that were not HTTP, or ambiguous.", lambda: traffic.malformed
    )
    meter.counter("aip_requests_slow_total", "Request heads that did not arrive in time.", lambda: traffic.slow)
    meter.counter("aip_clients_stalled_total", "Clients that took nothing of an answer.", lambda: traffic.stalled)
