"""Shipped twins of the platform's outer dependencies, for its own tests and for those of its users."""

from ai_platform.testing.clock import FakeClock
from ai_platform.testing.trail import MemoryTrail

__all__ = ["FakeClock", "MemoryTrail"]
