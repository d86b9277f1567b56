"""Names at the door to all servers: `SERVER__TOOL` for tools and prompts, `SERVER+URI` for resources.

No two servers' names can meet there: a server's name holds neither `_` nor `+`, so that the first `__` (or `+`) always
ends it. What clients could not take (other characters, too long) is replaced, and told apart by a hash.
Above: catalogue, the door. Below: nothing.
"""

import re
from hashlib import sha256
from typing import Any, cast

SEPARATOR = "__"
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")
_HASH = 8
_MARK = re.compile(rf"-[0-9a-f]{{{_HASH}}}\Z")


def visible_name(server: str, name: str, longest: int) -> str:
    """The name clients see: letters, digits, `_` and `-`, at most `longest` of them (Claude's API takes no others).

    The hash of what was changed is part of it, so that `a.b` and `a/b` stay two tools.
    """
    plain = f"{server}{SEPARATOR}{name}"
    if len(plain) <= longest and _PLAIN.fullmatch(name) and not is_marked(name):
        return plain
    mark = "-" + sha256(name.encode()).hexdigest()[:_HASH]
    return f"{server}{SEPARATOR}{_OTHER.sub('_', name)}"[: longest - len(mark)] + mark


def is_marked(visible: str) -> bool:
    """It holds the hash of a changed name. One that looks so from the beginning is changed as well."""
    return _MARK.search(visible) is not None


def server_in(visible: str) -> str:
    """The server a visible name begins with; "" when it has no such form."""
    server, found, rest = visible.partition(SEPARATOR)
    return server if found and rest else ""


def visible_uri(server: str, uri: str) -> str:
    """A URI (or URI template) that begins with the server's name: `kb://docs/1` of `wiki` is `wiki+kb://docs/1`."""
    return f"{server}+{uri}"


def own_uri(visible: str) -> tuple[str, str]:
    """(server, its own URI) of a visible one; ("", the same) when it has no such form."""
    server, found, uri = visible.partition("+")
    return (server, uri) if found and "_" not in server and ":" not in server else ("", visible)


def with_visible_uris(server: str, result: dict[str, Any]) -> dict[str, Any]:
    """A result as the door to all servers shows it: the URIs of embedded and linked resources begin with the server.

    Contents of a resource (`contents`), blocks of a tool's result (`content`) and of prompt messages are looked at.
    """
    changed = dict(result)
    if isinstance(contents := result.get("contents"), list):
        changed["contents"] = [_renamed(server, one) for one in cast("list[Any]", contents)]
    if isinstance(blocks := result.get("content"), list):
        changed["content"] = [_block(server, one) for one in cast("list[Any]", blocks)]
    if isinstance(messages := result.get("messages"), list):
        changed["messages"] = [_message(server, one) for one in cast("list[Any]", messages)]
    return changed


def _message(server: str, message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    fields = cast("dict[str, Any]", message)
    return fields | {"content": _block(server, fields["content"])} if "content" in fields else fields


def _block(server: str, block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    fields = cast("dict[str, Any]", block)
    if fields.get("type") == "resource_link":
        return _renamed(server, fields)
    if fields.get("type") == "resource" and "resource" in fields:
        return fields | {"resource": _renamed(server, fields["resource"])}
    return fields


def _renamed(server: str, resource: Any) -> Any:
    if not isinstance(resource, dict):
        return resource
    fields = cast("dict[str, Any]", resource)
    uri = fields.get("uri")
    return fields | {"uri": visible_uri(server, uri)} if isinstance(uri, str) else fields
