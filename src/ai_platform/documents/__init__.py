"""YAML files (and JSON, which is YAML) into typed msgspec values, with errors that name line, column and remedy.

It knows no business: what a policy or a price book means is decided above (config, policy, pricing). Below: domain.
"""

from ai_platform.documents.document import Document, load, read, read_text
from ai_platform.documents.errors import DocumentError, suggest

__all__ = ["Document", "DocumentError", "load", "read", "read_text", "suggest"]
