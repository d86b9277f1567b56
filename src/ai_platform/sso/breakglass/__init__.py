"""Local administrators for when every identity provider is down: a password and a code, or a password and a key.

The second factors need the extra `mfa`; `factors` is the only module here that imports it, and the wiring the only
place that imports `factors`. Above: signon, doors. Below: sessions, stores.
"""

from ai_platform.sso.breakglass.emergency import BreakGlass
from ai_platform.sso.breakglass.kinds import Factors

__all__ = ["BreakGlass", "Factors"]
