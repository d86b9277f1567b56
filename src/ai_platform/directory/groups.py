"""Groups that a directory provisioned: what they give is said by the rules of sign-in, as for groups in claims.

Above: bootstrap (sign-in asks through a Protocol of its own). Below: stores.
"""

from ai_platform.stores.postgres import Database

_OF = """
SELECT DISTINCT g.resource ->> 'displayName' AS name
FROM principals p
JOIN scim_resources u ON u.principal_id = p.id AND u.kind = 'User'
JOIN scim_members m ON m.member_id = u.id
JOIN scim_resources g ON g.id = m.group_id
WHERE p.handle = $1 LIMIT 2000
"""


class ProvisionedGroups:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, email: str, tenant: str) -> frozenset[str]:
        """Names of the groups that whoever has this address was put into, not those inside of other groups."""
        rows = await self._database.within(tenant).fetch(_OF, email.lower())
        return frozenset(row["name"] for row in rows if row["name"])
