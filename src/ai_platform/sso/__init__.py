"""Signing in: OpenID providers, browser sessions, and the device flow that gives Claude Code its tokens.

It ends where a Principal begins: what that may do is the policy's. Above: entrypoints, bootstrap.
Below: identity (roles), stores, domain.
"""

from ai_platform.sso.settings import SsoSettings
from ai_platform.sso.signon import SignOn

__all__ = ["SignOn", "SsoSettings"]
