"""`ai-platform sso`, `doctor` and alerts: providers and certificates as whoever runs the platform sees them."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from saml_kit import Pair
from saml_site import requires_samlp, saml_site
from sso_site import free_port

from platform_process import running, until


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook and what it got."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@requires_samlp
def test_the_commands_show_providers_print_our_metadata_and_change_our_key(tmp_path: Path):
    with saml_site(tmp_path / "site") as here:
        found = here.platform.json("sso", "status")
        assert [(one["name"], one["kind"], one["problem"]) for one in found["providers"]] == [("corp", "SAML", "")]
        assert found["providers"][0]["callback"] == f"{here.url}/saml/acs"
        first = found["own"][0]["sha256"]
        shown = here.platform.run("sso", "status")
        assert f"{here.url}/saml/acs" in shown
        file = tmp_path / "sp.xml"
        here.platform.run("sso", "metadata", "--output", str(file))
        assert file.read_text() == here.platform.run("sso", "metadata") == here.platform.run("sso", "metadata", "corp")
        here.platform.run("sso", "metadata", "nobody", code=1)
        here.platform.run("sso", "rotate-key", "--finish", code=1)
        key = here.platform.json("sso", "rotate-key")
        assert (key["state"], key["sha256"] != first) == ("next", True)
        assert len(re.findall('use="signing"', here.platform.run("sso", "metadata"))) == 2
        here.platform.run("sso", "rotate-key", code=1)
        assert "Current certificate" in here.platform.run("sso", "rotate-key", "--finish")
        assert [one["sha256"] for one in here.platform.json("sso", "status")["own"]] == [key["sha256"]]
        reader = here.platform.key("reader", "--scope", "identity:keys:read", "--role", "admin")
        with here.platform.http(reader) as client:
            assert client.get("/admin/sign-in").status_code == 403
            assert client.post("/admin/sign-in/saml-key").status_code == 403


CONFIGURATION = """
alerts: {{webhooks: [{{name: hook, url: "{hook}"}}]}}
sso:
  providers:
    - {{name: away, issuer: "http://127.0.0.1:9", client_id: x, email_domains: [example.com]}}
  saml:
    - name: old
      issuer: https://idp.example/metadata
      metadata_file: {file}
      email_domains: [example.org]
"""
METADATA = """<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://idp.example/metadata">
<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><md:KeyDescriptor><ds:KeyInfo
 xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate>
</ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService
 Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example/sso"/></md:IDPSSODescriptor>
</md:EntityDescriptor>"""


def test_a_provider_that_is_down_and_a_certificate_that_expires_are_told_everywhere(tmp_path: Path):
    file = tmp_path / "idp.xml"
    file.write_text(METADATA.format(certificate=Pair(days=20.5).bare))
    config = tmp_path / "platform.yaml"
    with receiver() as (hook, got):
        config.write_text(CONFIGURATION.format(hook=hook, file=file))
        options = ("--config", str(config), "--port", str(free_port()))
        with running(tmp_path / "data", *options) as platform:
            until(lambda: {"certificate_expires", "sign_in_provider_down"} <= {one["kind"] for one in got})
            expiry = next(one for one in got if one["kind"] == "certificate_expires")
            assert (expiry["severity"], expiry["facts"]["days_left"]) == ("warning", 20)
            assert expiry["title"] == "The certificate of the identity provider old expires in 20 days"
            shown = platform.run("sso", "status", code=1)
            assert "does not answer" in shown
            assert "expires in 20 days" in shown
            checks = {one["check"]: one for one in platform.json("doctor", "--config", str(config), code=1)}
            assert checks["certificate"]["state"] == "warning"
            assert "expires in 20 days" in checks["certificate"]["detail"]
            with platform.http() as client:
                page = client.get("/metrics").text
                assert 'aip_sign_in_provider_up{provider="away"} 0' in page
                assert 'aip_sign_in_provider_up{provider="old"} 1' in page
                down = client.get("/auth/login?provider=away")
                assert down.status_code == 502
                assert "away does not work at this moment" in down.text
                assert "old" in down.text
                assert "/auth/login?provider=old" in down.text
        file.write_text(METADATA.format(certificate=Pair(days=-1).bare))
        with running(tmp_path / "data", *options) as platform:
            until(lambda: [one for one in got if one["severity"] == "critical"])
            assert "has expired" in platform.run("sso", "status", code=1)
            with platform.http() as client:
                assert client.get("/auth/login?provider=old").status_code == 303
