"""A simulated Zimbra: admin API, command-line tools and logs with made-up mailboxes, since no real one can be shipped.

Every address in it ends in `simulated.example`, every HTTP answer says that it is simulated. See docs/simulator.md.
"""

from ai_platform.simulator.zimbra.home import furnish
from ai_platform.simulator.zimbra.server import serve_zimbra
from ai_platform.simulator.zimbra.site import example

__all__ = ["example", "furnish", "serve_zimbra"]
