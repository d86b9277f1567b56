"""Reading XML of SAML: the one door to what needs the extra `saml`. Satisfies `messages.Reading`.

Importing it without the extra raises ImportError; the wiring does so and says what to install.
"""

from ai_platform.sso.saml.answer import opened, verified
from ai_platform.sso.saml.idp_metadata import certificate_of, described
from ai_platform.sso.saml.logout_message import logout_answered, logout_asked

__all__ = ["certificate_of", "described", "logout_answered", "logout_asked", "opened", "verified"]
