"""Who there is: people, teams, projects and tenants, and the end of each of them.

It decides no permission (policy) and checks no credential (identity, sso). Above: scim, entrypoints. Below: sso,
identity, stores.
"""

from ai_platform.directory.people import People
from ai_platform.directory.teams import Teams
from ai_platform.directory.tenants import Tenants

__all__ = ["People", "Teams", "Tenants"]
