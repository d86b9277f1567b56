"""Clients of a running platform: `AdminClient` for commands. Above: cli, bots. Below: domain."""

from ai_platform.client.admin import AdminClient, ClientError

__all__ = ["AdminClient", "ClientError"]
