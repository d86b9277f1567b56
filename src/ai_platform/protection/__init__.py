"""What is inside a call: personal data, payment data, secrets. Guard for calls and answers, Scanner for plain text.

Pure inspection and rewriting: it decides by the plan it is given, records nothing and sends nothing.
Inspection and StreamGuard are what Guard returns. Above: gateway, cli. Below: domain, stores (rows only).
"""

from ai_platform.protection.guard import Guard
from ai_platform.protection.incident_list import Incidents
from ai_platform.protection.incidents import PostgresSeen, incident_rows
from ai_platform.protection.inspection import Inspection
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.seen import MemorySeen, SeenValues
from ai_platform.protection.settings import ProtectionSettings
from ai_platform.protection.stream import StreamGuard
from ai_platform.protection.tables import PostgresVault, purge_vault

__all__ = [
    "Guard",
    "Incidents",
    "Inspection",
    "MemorySeen",
    "PostgresSeen",
    "PostgresVault",
    "ProtectionSettings",
    "Scanner",
    "SeenValues",
    "StreamGuard",
    "incident_rows",
    "purge_vault",
]
