"""SimpleSAMLphp (Debian's package) as an identity provider: another implementation, in another language."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from saml_kit import Pair
from sso_site import PEOPLE, Browser, fields_of, free_port

from platform_process import until

PROGRAM = Path("/usr/share/simplesamlphp/www")
CONFIGURATION = Path(__file__).with_name("simplesamlphp")

requires_simplesamlphp = pytest.mark.skipif(
    not (PROGRAM.is_dir() and shutil.which("php")),
    reason="SimpleSAMLphp is missing (Debian: apt install simplesamlphp php-cli php-xml php-mbstring php-curl)",
)


class SimpleSamlPhp:
    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder

    @property
    def metadata_url(self) -> str:
        return f"{self.url}/saml2/idp/metadata.php"

    def know(self, entity: str, acs: str, **more: Any) -> None:
        """What it is told about the platform. more: its own settings of a service provider."""
        about = {"AssertionConsumerService": acs, "entityid": entity} | more
        (self._folder / "sp.json").write_text(json.dumps({entity: about}))


class SspBrowser(Browser):
    def sign_in(self, person: str, at: str = "/auth/session") -> httpx2.Response:
        page = self.get(f"{self.url}{at}")
        for _ in range(4):
            if str(page.url).startswith(self.url):
                return page
            named = {"username": person, "password": person} if 'name="username"' in page.text else {}
            form = {name: value.replace("&amp;", "&") for name, value in fields_of(page.text).items()}
            page = self.submit(page, **(form | named))
        return page


@contextmanager
def simplesamlphp(folder: Path) -> Iterator[SimpleSamlPhp]:
    for name in ("cert", "log", "data", "tmp"):
        (folder / name).mkdir(parents=True)
    pair = Pair()
    (folder / "cert" / "idp.key").write_text(pair.key)
    (folder / "cert" / "idp.pem").write_text(pair.certificate)
    (folder / "sp.json").write_text("{}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PATH": os.environ["PATH"],
        "SIMPLESAMLPHP_CONFIG_DIR": str(CONFIGURATION),
        "SSP_FOLDER": str(folder),
        "SSP_URL": url,
        "SSP_PEOPLE": json.dumps(PEOPLE),
    }
    with (folder / "php.log").open("w") as log:
        process = subprocess.Popen(
            ["php", "-S", f"127.0.0.1:{port}", "-t", str(PROGRAM)], stdout=log, stderr=log, env=environment
        )
        try:
            until(lambda: _answers(f"{url}/saml2/idp/metadata.php"))
            yield SimpleSamlPhp(url, folder)
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
