"""Resources to rows and back: what is kept of a resource, and what is put together again from several tables.

Above: storage. Below: nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import normalize

from scim2_models import Meta, ScimPolicy, default_comparison_key

from ai_platform.scim.facts import checked

USER, GROUP = "User", "Group"
NOT_KEPT = frozenset({"id", "meta", "password", "groups", "members", "schemas"})
"""Of the attributes as they are dumped: what other columns and tables hold, and what is never kept."""

_KEY = default_comparison_key


def name_of(resource: Any, kind: str) -> str:
    """UserName or displayName, as it is compared. Raises InvalidValueException."""
    if kind == USER:
        return folded(checked("userName", resource.user_name))
    return folded(checked("displayName", resource.display_name))


def folded(text: str) -> str:
    """As the standard compares text that is not case-exact."""
    return _KEY(_NotExact, text)


class _NotExact:
    case_exact = False


def external_of(resource: Any) -> str | None:
    """Raises InvalidValueException."""
    value = resource.external_id
    return None if value in {None, ""} else normalize("NFC", checked("externalId", value))


def kept(resource: Any) -> dict[str, Any]:
    """The attributes as JSON, with their schemas."""
    whole: dict[str, Any] = resource.model_dump()
    return {name: value for name, value in whole.items() if name not in NOT_KEPT}


def resource_of(model: Any, row: Any, related: Sequence[Mapping[str, Any]], policy: ScimPolicy) -> Any:
    """A new resource. related: the members of a group, the groups of a user; rows {id, kind, display}."""
    listed = [
        {"value": one["id"], "$ref": f"{one['kind']}s/{one['id']}", "display": one["display"], "type": one["kind"]}
        for one in related
    ]
    if row["kind"] == USER:
        listed = [{**one, "type": "direct"} for one in listed]
    where = "members" if row["kind"] == GROUP else "groups"
    resource = model.model_validate({**row["resource"], "id": row["id"], where: listed or None}, scim_policy=policy)
    resource.meta = Meta(
        resource_type=row["kind"],
        created=row["created_at"],
        last_modified=row["changed_at"],
        version=version_of(row["version"]),
    )
    return resource


def version_of(number: int) -> str:
    """A weak entity tag (RFC 9110 section 8.8.3)."""
    return f'W/"{number}"'
