"""Builds the price book from the built-in list and the organisation's files."""

from importlib import resources

from ai_platform.pricing.book import Layer, PriceBook
from ai_platform.pricing.schema import read_prices
from ai_platform.pricing.settings import PricingSettings


def load_price_book(settings: PricingSettings | None = None) -> PriceBook:
    """The price book of these settings.

    Raises:
        ConfigError: a price file cannot be read or is wrong; with line, column and remedy.

    """
    settings = settings or PricingSettings()
    shipped = resources.files("ai_platform.pricing") / "prices.yaml"
    built_in = read_prices(shipped.read_text(encoding="utf-8"), name="prices.yaml (built in)").value
    own = [Layer(path.stem, read_prices(path).value) for path in reversed(settings.files)]
    return PriceBook((*own, Layer("", built_in)), unknown_model=settings.unknown_model)
