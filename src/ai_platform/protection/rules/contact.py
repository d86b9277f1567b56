"""How to reach a person: e-mail addresses, telephone numbers, network addresses."""

import ipaddress
import re

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.rule import Rule, Span

_LOCAL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._%+'-]*[A-Za-z0-9_+-])?\Z")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])")
_NOT_TLD = frozenset(
    [
        "py",
        "js",
        "ts",
        "tsx",
        "jsx",
        "json",
        "yaml",
        "yml",
        "md",
        "txt",
        "go",
        "rs",
        "java",
        "rb",
        "sh",
        "c",
        "h",
        "cpp",
        "css",
        "html",
        "xml",
        "png",
        "jpg",
        "jpeg",
        "svg",
        "gif",
        "toml",
        "lock",
        "sql",
        "local",
        "localhost",
        "internal",
        "invalid",
        "test",
        "example",
        "lan",
        "cfg",
        "ini",
        "log",
        "map",
        "so",
        "dll",
        "exe",
        "zip",
        "gz",
        "tar",
        "service",
        "target",
        "socket",
    ]
)
_NOBODY = re.compile(r"(?i)(?:git|noreply|no-reply|donotreply)@|@(?:[a-z0-9-]+\.)*(?:example\.(?:com|org|net|edu))$")


def _email(text: str, start: int, end: int) -> Span | None:
    domain = _DOMAIN.match(text, start + 1)
    local = _LOCAL.search(text[max(0, start - 64) : start])
    if domain is None or local is None:
        return None
    begin = start - len(local.group())
    value = text[begin : domain.end()]
    if value.rpartition(".")[2].lower() in _NOT_TLD or _NOBODY.search(value):
        return None
    return (begin, domain.end()) if begin == 0 or text[begin - 1] not in "/@\\" else None


_IP4 = re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d)")


def _public_ip(value: str) -> bool:
    return ipaddress.ip_address(value).is_global


RULES = (
    Rule(
        id="email-address",
        type="EMAIL_ADDRESS",
        label="an e-mail address",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.WARNING,
        source="RFC 5321 section 4.1.2 (mailbox), RFC 1035 (domain names), RFC 2606 (reserved names)",
        triggers=(r"@",),
        finder=_email,
        examples=("write to jane.doe@acme-corp.com", "<o'neil+x@mail.co.uk>"),
        counter_examples=("git@github.com", "noreply@acme.com", "user@example.com", "@media", "a@b", "main@app.py"),
    ),
)
