"""Metrics, logs and alerts: what operators see. It records facts handed to it and decides nothing about a call.

Above: gateway (hands over CallFacts), bootstrap (wires gauges of other rooms). Below: domain. Never imports a sibling.
"""

from ai_platform.telemetry.alerts import Alert, Alerts
from ai_platform.telemetry.facts import CallFacts
from ai_platform.telemetry.logs import CallLog, configure_logging
from ai_platform.telemetry.meter import Meter

__all__ = ["Alert", "Alerts", "CallFacts", "CallLog", "Meter", "configure_logging"]
