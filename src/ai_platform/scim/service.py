"""What the service announces and tolerates: users with the enterprise extension, groups, PATCH, bulk, filters, sorting,
entity tags. Kept is what this platform has a use for: no addresses, telephone numbers, photographs, passwords.

Above: the scim door. Below: scim2-server.
"""

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    ETag,
    External,
    Filter,
    Patch,
    Reference,
    Schema,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
)
from scim2_server.utils import load_default_resource_types, load_default_schemas

from ai_platform.scim.settings import ScimSettings

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
KEPT = frozenset({"userName", "name", "displayName", "title", "userType", "active", "emails", "groups"})
"""Of the user schema of RFC 7643. The others are taken and dropped, also in PATCH: directories send what they have."""

TOLERANT = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
"""Attributes nobody declared are dropped; `remove` may name members by value; `emails[type eq "work"].value` makes the
address when there is none: Entra sends all three.
"""


def provider_of(settings: ScimSettings) -> ScimProvider:
    config = ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=True, max_operations=settings.bulk_operations, max_payload_size=settings.body_bytes),
        filter=Filter(supported=True, max_results=settings.page),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Platform key",
                description="A platform key with the scope `scim`, as a bearer token",
                spec_uri=Reference[External]("https://www.rfc-editor.org/info/rfc6750"),
                primary=True,
            )
        ],
    )
    return ScimProvider.from_discovery(
        [_reduced(schema) for schema in load_default_schemas().values()],
        load_default_resource_types().values(),
        config=config,
        policy=TOLERANT,
    )


def _reduced(schema: Schema) -> Schema:
    if schema.id != USER:
        return schema
    kept = [attribute for attribute in schema.attributes or () if attribute.name in KEPT]
    return schema.model_copy(update={"attributes": kept})
