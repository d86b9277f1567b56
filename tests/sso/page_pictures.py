"""Pictures of the sign-in pages for docs/images: PYTHONPATH=tests python tests/sso/page_pictures.py CHROMIUM

Starts the platform with a real OpenID provider (AI_PLATFORM_OIDC_PROVIDER, as the tests do), walks through the pages as
a person would and lets a headless Chromium draw what was answered.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from sso_site import Site, site

PICTURES = Path(__file__).resolve().parents[2] / "docs/images"


def pages(found: Site) -> dict[str, str]:
    """Name of the picture -> the page's HTML."""
    with found.browser() as stranger, found.browser() as ann:
        nothing = stranger.sign_in("cy").text
        ann.sign_in("ann")
        asked = ann.get(f"{found.url}/device")
        started = found.begin()
        approve = ann.submit(asked, user_code=started["user_code"], action="look").text
    return {"sign-in-approve": approve, "sign-in-nothing-granted": nothing}


def draw(chromium: str, html: str, picture: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(html, encoding="utf-8")
        subprocess.run(
            [
                chromium,
                "--headless=new",
                "--no-sandbox",
                "--hide-scrollbars",
                "--window-size=560,720",
                f"--user-data-dir={folder}/profile",
                f"--screenshot={picture}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chromium", help="the program")
    parser.add_argument("--to", type=Path, default=PICTURES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, site(Path(folder) / "site") as found:
        for name, html in pages(found).items():
            draw(asked.chromium, html, asked.to / f"{name}.png")


if __name__ == "__main__":
    main()
