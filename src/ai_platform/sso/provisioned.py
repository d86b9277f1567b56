"""Groups that a directory put people into, beside those that a provider tells at sign-in.

Above: signon. Below: mapping.
"""

from typing import Protocol

import msgspec

from ai_platform.domain.principal import HOME
from ai_platform.sso.mapping import Said
from ai_platform.sso.settings import IdentityProvider


class Provisioned(Protocol):
    """What sign-in needs of provisioning."""

    async def of(self, email: str, tenant: str) -> frozenset[str]:
        """Names of the groups that whoever has this address was put into."""
        ...


async def with_provisioned(said: Said, provider: IdentityProvider, groups: Provisioned | None) -> Said:
    """The provider's word with those groups; only for an address that the provider vouches for."""
    if groups is None or not said.email or not said.vouched:
        return said
    more = await groups.of(said.email, provider.tenant or said.tenant or HOME)
    return msgspec.structs.replace(said, groups=said.groups | more)
