"""Calls that wait for somebody's consent: kept, shown, decided once, bound to exactly what was asked, used once.

Which calls need it is the policy's business. Above: gateway, entrypoints. Below: stores.
"""

from ai_platform.approvals.approvals import Approvals
from ai_platform.approvals.request import Ask, Request, State
from ai_platform.approvals.settings import ApprovalSettings

__all__ = ["ApprovalSettings", "Approvals", "Ask", "Request", "State"]
