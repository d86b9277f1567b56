"""People with accounts at MCP servers that ask for OAuth, at the page where they connect them."""

import html
import json
import re
import secrets

import httpx2
from mcp_client import Person, Tools, data_of
from sso_site import fields_of

SERVERS = """
    - {{name: mine, url: "{url}", credentials: person, oauth: {{}}, first_use: true}}
    - {{name: typed, url: "{url}", credentials: person, first_use: true}}
    - {{name: keyed, url: "{url}", credentials: person, token_header: x-token, first_use: true}}
    - {{name: twin, url: "{twin}", credentials: person, oauth: {{}}, first_use: true}}
    - {{name: ours, url: "{url}", oauth: {{}}, first_use: true}}
    - {{name: machine, url: "{url}", first_use: true,
       oauth: {{machine: true, client_id: platform, client_secret_env: MACHINE_SECRET}}}}
"""


class Owner(Person):
    """Somebody with a key of their own, at the page of accounts."""

    def __init__(self, tools: Tools, name: str) -> None:
        super().__init__(tools, name)
        self.key = tools.here.platform.key(f"{name}-{secrets.token_hex(4)}", "--email", f"{name}@example.com")

    def page(self) -> httpx2.Response:
        return self.open(f"{self.tools.url}/auth/connections")

    def post(self, server: str, action: str, **fields: str) -> httpx2.Response:
        csrf = fields_of(self.page().text)["csrf"]
        form = {"csrf": csrf, "server": server, "action": action, **fields}
        return self.browser.post(f"{self.tools.url}/auth/connections", data=form)

    def leave(self, server: str = "mine") -> str:
        """Where the authorisation server is."""
        page = self.post(server, "connect")
        found = re.search(r'class="button main" href="([^"]+)"', page.text)
        assert found, page.text
        return html.unescape(found[1])

    def connect(self, server: str = "mine") -> httpx2.Response:
        """There and back."""
        return self.browser.get(self.leave(server))

    def calls(self, server: str = "mine") -> str:
        return str(self.tools.call(self.key, "whose", at=f"/mcp/{server}"))

    def tools_of(self, server: str) -> list[str]:
        listed = self.tools.rpc(self.key, "tools/list", at=f"/mcp/{server}")
        return [tool["name"] for tool in json.loads(data_of(listed))["result"]["tools"]]

    def disconnect_all(self) -> None:
        for server in re.findall(r'name="server" value="(\w+)"', self.page().text):
            self.post(server, "disconnect")
