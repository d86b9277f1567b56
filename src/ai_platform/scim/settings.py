"""Settings of provisioning."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]


class ScimSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Provisioning by SCIM 2.0 at /scim/v2; needs the extra `scim`.

    enabled: serve it. requests_per_minute: of one key; more are told to wait. body_bytes: largest request.
    bulk_operations: in one bulk request. page: resources in one answer. scanned: resources that a filter which names
    neither userName, displayName, externalId nor id may look at; more are refused as too many.
    """

    enabled: bool = False
    requests_per_minute: Count = 3000
    body_bytes: Count = 1024 * 1024
    bulk_operations: Count = 100
    page: Count = 200
    scanned: Count = 20_000
