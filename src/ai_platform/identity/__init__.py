"""Who is calling: platform keys of people and service accounts -> Principal.

It does not decide what a caller may do (policy); it only says what the key's roles and scopes come to.
Above: gateway, entrypoints, cli. Below: stores, documents, domain.
"""

from ai_platform.identity.authenticator import Authenticator
from ai_platform.identity.keys import Keys
from ai_platform.identity.settings import IdentitySettings

__all__ = ["Authenticator", "IdentitySettings", "Keys"]
