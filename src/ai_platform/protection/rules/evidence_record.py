"""What is said of a page that documents a format. Above: the evidence files. Below: nothing."""

from typing import NamedTuple


class Evidence(NamedTuple):
    """url: the page that was read. vendor: it is the vendor's own. told: what it says of the format. read: ISO date."""

    url: str
    vendor: bool
    told: str
    read: str = "2026-11-22"
