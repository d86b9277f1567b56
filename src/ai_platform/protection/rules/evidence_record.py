"""The record of a page that was compared with a rule. Above: evidence*.py. Below: nothing."""

from typing import NamedTuple


class Evidence(NamedTuple):
    """url: the page that was read. vendor: it is the vendor's own. told: what it says of the format. read: ISO date."""

    url: str
    vendor: bool
    told: str
    read: str = "2026-11-22"


def own(url: str, told: str) -> Evidence:
    """A page of the vendor itself: documentation, or the source code that issues or checks the value."""
    return Evidence(url, vendor=True, told=told)


def other(url: str, told: str) -> Evidence:
    """Somebody else's page about the vendor's format."""
    return Evidence(url, vendor=False, told=told)


def on_github(repository: str, path: str, told: str) -> Evidence:
    """A file of the vendor's own public repository ("owner/name")."""
    return own(f"https://github.com/{repository}/blob/HEAD/{path}", told)
