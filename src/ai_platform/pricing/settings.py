"""Settings of pricing: further price files, and what happens to a model without a price."""

from enum import StrEnum
from pathlib import Path

import msgspec


class UnknownModel(StrEnum):
    """`maximum`: priced at its family's highest price (of all families when it has none) and alerted.
    `refuse`: the call is refused before it is made.
    """

    MAXIMUM = "maximum"
    REFUSE = "refuse"


class PricingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """files: price files of the organisation (contract prices, discounts); a later file wins over an earlier one,
    every file over the built-in list.
    unknown_model: a model without a price is priced at its family's `maximum` and alerted, or its call is refused.
    """

    files: tuple[Path, ...] = ()
    unknown_model: UnknownModel = UnknownModel.MAXIMUM
