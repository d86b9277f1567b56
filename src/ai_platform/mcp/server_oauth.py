"""How the platform gets a token for an MCP server that asks for OAuth. Needs no MCP SDK. Above: settings."""

import re

import msgspec

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ServerOAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OAuth of an MCP server, found from its address; nothing has to be written where clients may register.

    client_id: of a client that was registered there by hand; "" = by this platform's own metadata document or by
    registration.
    client_secret_env: the variable with its secret; "" = a public client.
    scopes: what is asked for; empty = what the server says it needs.
    hosts: hosts with private addresses that its authorisation server may lie on.
    machine: the platform gets a token for itself with client_id and secret, and nobody has to agree.
    """

    client_id: str = ""
    client_secret_env: str = ""
    scopes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    machine: bool = False

    def __post_init__(self) -> None:
        if self.client_secret_env and not _VARIABLE.fullmatch(self.client_secret_env):
            raise ValueError(f"client_secret_env {self.client_secret_env[:60]!r} is no name of an environment variable")
        if self.machine and not (self.client_id and self.client_secret_env):
            raise ValueError("machine needs client_id and client_secret_env")
        if any(not scope.isprintable() or " " in scope for scope in self.scopes):
            raise ValueError("scopes: one word each")
