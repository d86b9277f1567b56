"""The price book, the meter that reads usage out of answers, and estimates of calls that have not ended.

Above: gateway, budget, CLI. Below: documents, domain. It keeps no money: the ledger does.
"""

from ai_platform.pricing.book import PriceBook
from ai_platform.pricing.estimate import Estimator
from ai_platform.pricing.load import load_price_book
from ai_platform.pricing.meter import UsageMeter, merge, total_usage, usage_from_message
from ai_platform.pricing.price import Price
from ai_platform.pricing.settings import PricingSettings, UnknownModel

__all__ = [
    "Estimator",
    "Price",
    "PriceBook",
    "PricingSettings",
    "UnknownModel",
    "UsageMeter",
    "load_price_book",
    "merge",
    "total_usage",
    "usage_from_message",
]
