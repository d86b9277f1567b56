"""SAML 2.0, the service provider's side: requests, answers, both sides' metadata, our keys.

Reading XML needs the extra `saml`; `reading` is the door to what imports it, and only the wiring imports `reading`.
Above: signon. Below: mapping, stores.
"""

from ai_platform.sso.saml.flow import SamlFlow
from ai_platform.sso.saml.messages import Reading

__all__ = ["Reading", "SamlFlow"]
