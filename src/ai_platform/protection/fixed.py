"""What of a Messages API body or answer must stay as it is, because the call would break: signatures, ids, names.

Above: body.py. Below: nothing.
"""

import re
from enum import IntEnum


class Fixed(IntEnum):
    """May the text at a place be changed? FREE: yes. NAME: no, and the client chose it. SIGNED: no, and the upstream
    or Claude Code made it, so that it tells the upstream nothing new.
    """

    FREE = 0
    NAME = 1
    SIGNED = 2


_PARAMS = r"(?:requests\[\d+\]\.params\.)?"
_BLOCK = (
    rf"(?:(?:{_PARAMS}(?:messages\[\d+\]\.)?|message\.|result\.message\.)content\[\d+\]|content_block)"
    r"(?:\.content(?:\[\d+\])?)?"
)
_THINKING = re.compile(rf"(?:{_BLOCK}|delta)\.thinking")
_OPAQUE = re.compile(
    rf"(?:{_BLOCK}|delta)\.(?:signature|data|encrypted_content|encrypted_index|encrypted_stdout|encrypted_stderr)"
)
_NAMED = re.compile(
    rf"(?:{_BLOCK}|delta)\.(?:type|id|tool_use_id|name|stop_reason)"
    rf"|{_PARAMS}(?:model|metadata\.user_id|messages\[\d+\]\.role|tools\[\d+\]\.(?:name|type))"
    r"|(?:requests\[\d+\]\.)?custom_id|(?:(?:result\.)?message\.)?(?:id|type|role|stop_reason|model)"
)
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/_-]|\\/)*=*")
_MADE_ELSEWHERE = re.compile(
    rb"[a-z]{3,12}_[A-Za-z0-9]{16,40}"
    rb'|\{(?:\\"[a-z_]{2,20}\\":\\"[0-9a-f-]{0,64}\\",?){1,6}\}'
    rb"|user_[0-9a-f]{64}_account_[0-9a-f-]{0,36}_session_[0-9a-f-]{36}"
)
"""Ids as the upstream mints them, and Claude Code's `metadata.user_id`."""

_BILLING_HEADER = re.compile(rb"x-anthropic-billing-header: (?:[a-z_]{1,20}=[A-Za-z0-9._-]{0,40};? ?){1,10}")


def fixed_at(path: str, raw: bytes) -> Fixed:
    """May the string `raw` (as it stands in the JSON) at `path` be changed?"""
    if _THINKING.fullmatch(path) is not None:
        return Fixed.SIGNED
    if _OPAQUE.fullmatch(path) is not None:
        return Fixed.SIGNED if _BASE64.fullmatch(raw) is not None else Fixed.NAME
    if _NAMED.fullmatch(path) is not None:
        return Fixed.SIGNED if _MADE_ELSEWHERE.fullmatch(raw) is not None else Fixed.NAME
    if path.startswith("system") and _BILLING_HEADER.fullmatch(raw) is not None:
        return Fixed.SIGNED
    return Fixed.FREE
