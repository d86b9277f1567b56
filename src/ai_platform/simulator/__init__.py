"""The simulated Claude upstream: the Anthropic wire format with scripted answers, in the process or as a program.

For running without a key, for demonstrations, tests and load tests. Every answer says that it is simulated. It imports
only the domain; the platform reaches it over HTTP like any other upstream. `zimbra` is a simulated mail server. See
docs/simulator.md.
"""

from ai_platform.simulator.app import create_app
from ai_platform.simulator.server import serve
from ai_platform.simulator.settings import SimulatorSettings

__all__ = ["SimulatorSettings", "create_app", "serve"]
