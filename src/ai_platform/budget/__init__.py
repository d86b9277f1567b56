"""Can we afford it: limits and budgets by hold and settle (Budget), and the record of what was spent (Ledger).

Siblings decide whether a call is allowed (policy) and where it goes (routing). Above: gateway, admin API. Below:
pricing, stores, domain.
"""

from ai_platform.budget.budget import Budget
from ai_platform.budget.hold import Estimate, Hold
from ai_platform.budget.ledger import Ledger

__all__ = ["Budget", "Estimate", "Hold", "Ledger"]
