"""The flow every call takes, the watching of its answer and the one place that records it.

Above: the doors (entrypoints). Below: the rooms (identity, policy, protection, routing, budget, upstream, audit,
telemetry), which never see each other.
"""

from ai_platform.gateway.book import Book
from ai_platform.gateway.pipeline import Gateway

__all__ = ["Book", "Gateway"]
