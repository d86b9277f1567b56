"""Which tools, resources and prompts of MCP servers a caller may use. Default deny: a role has to grant each.

A permission (`tools:SERVER/TOOL:call`) grants, the lists under `tools` narrow, and so does the key's scope
(`tool:GLOB`). Names are `SERVER/TOOL`, `SERVER/URI`, `SERVER/PROMPT`. Above: policy. Below: access.
"""

import re
from types import MappingProxyType
from urllib.parse import unquote

import msgspec

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall
from ai_platform.domain.permission import Offer, grants
from ai_platform.domain.principal import Principal
from ai_platform.policy.access import AccessLists, Verdict
from ai_platform.policy.globs import key_scope
from ai_platform.policy.schema import AccessSection

OFFERS: MappingProxyType[Operation, Offer] = MappingProxyType(
    {
        Operation.TOOLS_CALL: Offer.TOOL,
        Operation.RESOURCES_READ: Offer.RESOURCE,
        Operation.RESOURCES_SUBSCRIBE: Offer.RESOURCE,
        Operation.RESOURCES_COMPLETE: Offer.RESOURCE,
        Operation.PROMPTS_GET: Offer.PROMPT,
        Operation.PROMPTS_COMPLETE: Offer.PROMPT,
    }
)
"""Operations on one thing that a server offers."""

LONGEST_TARGET = 2048
_DOTS = re.compile(r"(?:^|/)\.\.?(?:[/;?#]|$)")


class ToolAccess:
    def __init__(self, section: AccessSection) -> None:
        self._lists = AccessLists("tools", section)

    def judge(self, principal: Principal, offer: Offer, server: str, name: str) -> Verdict:
        """Whether the caller may use it. The rule of a refusal is the permission, list or scope that is missing.

        A server decodes and resolves a URI before it opens anything: one that would lead out of what a glob says is
        refused, and one that is encoded must be allowed as it is written and as it is read.
        """
        if offer is Offer.RESOURCE:
            if climbs(name):
                return Verdict(False, "dot segments in a URI", final=True)
            if "%" in name and not (read := self._judge(principal, offer, server, unquote(name))).permitted:
                return read
        return self._judge(principal, offer, server, name)

    def _judge(self, principal: Principal, offer: Offer, server: str, name: str) -> Verdict:
        target = f"{server}/{name}"
        permission = offer.permission(server, name)
        if not server or not name or len(target) > LONGEST_TARGET:
            return Verdict(False, "tools", final=True)
        if not within_key(principal, target):
            return Verdict(False, "key scope", ", ".join(principal.tools), final=True)
        listed = self._lists.judge(principal, target.lower()) if self._lists.restricts else None
        if listed is not None and listed.final:
            return listed
        if not grants(principal.permissions, permission):
            return Verdict(False, f"permission {permission}")
        return listed or Verdict(True, f"permission {permission}")


def climbs(uri: str) -> bool:
    """Whether `.` or `..` is a step of its path, plain or encoded (once or twice), with either slash."""
    once = unquote(uri) if "%" in uri else uri
    return any(_DOTS.search(text.replace("\\", "/")) for text in {uri, once, unquote(once)})


def within_key(principal: Principal, target: str) -> bool:
    """Whether the credential's own scope lets `SERVER/NAME` pass; one without such scopes lets everything."""
    return not principal.tools or key_scope(principal.tools).match(target.lower())


def target_of(call: Call) -> str:
    """`SERVER/TOOL` of a call through the MCP door, empty for any other."""
    return f"{call.head.server}/{call.head.tool}" if call.head.server and call.head.tool else ""


class _Parameters(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


_parameters = msgspec.json.Decoder(_Parameters)


def arguments_of(call: Call) -> bytes:
    """What the tool or prompt is called with, as JSON text.

    Raises:
        InvalidCall: the parameters are not a JSON object (fail closed).

    """
    try:
        return bytes(_parameters.decode(call.body).arguments) if call.body else b"{}"
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"The parameters of this call are not a JSON object: {error}."
        raise InvalidCall(Refusal.INVALID_REQUEST, message) from error
