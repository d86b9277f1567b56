"""May this caller make this call, within which limits, inspected how: policy as code, hot-reloaded.

It counts nothing (budget), inspects no values (protection) and knows no credential (identity).
Above: gateway, entrypoints, cli. Below: documents, domain.
"""

from ai_platform.policy.policy import Policy
from ai_platform.policy.roles import Roles
from ai_platform.policy.store import PolicyStore

__all__ = ["Policy", "PolicyStore", "Roles"]
