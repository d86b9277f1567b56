"""Private keys, seeds and signed tokens."""

import re
from base64 import urlsafe_b64decode
from binascii import Error

import msgspec

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.checkdigits_world import base58check
from ai_platform.protection.checks import entropy, random_looking
from ai_platform.protection.probe import LONGEST
from ai_platform.protection.rule import Anchor, Rule, Span
from ai_platform.protection.rules.shapes import vendor_token

_HEADER = re.compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BODY = re.compile(
    r"(?:[\s\"'+,\\>|*#;.()-]{0,40}(?:[nrt](?=[A-Za-z0-9+/]{16})|(?:Version|Comment|Proc-Type|DEK-Info|Hash|Charset|Subject|X-[A-Za-z-]+): ?[^\n\\]{0,120}"
    r"|[A-Za-z0-9+/]{16,}={0,2}|=[A-Za-z0-9+/]{4}))*"
)
_LAST_LINE = re.compile(
    r"[\s\"'+,\\>|*#;n.()-]{0,40}[A-Za-z0-9+/]{1,15}={0,2}(?![A-Za-z0-9+/])(?=[\s\"'+,\\>|*#;n.()-]{0,40}(?:-----END|=[A-Za-z0-9+/]{4}))"
)
_CHECKSUM = re.compile(r"[\s\"'+,\\>|*#;n.()-]{0,40}=[A-Za-z0-9+/]{4}")
_FOOTER = re.compile(r"[\s\"'+,\\>|*#;nrt.()-]{0,40}-----END (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}")
_UNFINISHED = re.compile(
    r"[\s\"'+,\\>|*#;nrt.()=-]{0,40}(?:[A-Za-z0-9+/]{0,15}={0,2}[\s\"'+,\\>|*#;nrt.()-]{0,40}(?:=[A-Za-z0-9+/]{0,4})?"
    r"[\s\"'+,\\>|*#;nrt.()-]{0,40}(?:-{1,5}[A-Z0-9 -]{0,48})?|[A-Za-z-]{1,12}:?[^\n\\]{0,120})\Z"
)


def _pem(text: str, start: int, _end: int) -> Span | None:
    """Header, at least 64 characters of base64, and the footer when there is one."""
    header = _HEADER.match(text, start)
    if header is None:
        return None
    body = _BODY.match(text, header.end(), start + LONGEST)
    stop = body.end() if body else header.end()
    material = sum(len(run) for run in _BASE64.findall(text, header.end(), stop))
    for part in (_LAST_LINE, _CHECKSUM, _FOOTER):
        more = part.match(text, stop)
        stop = more.end() if more else stop
    return (start, stop) if material >= 64 else None


def _pem_open(text: str, start: int, _end: int) -> bool:
    header = _HEADER.match(text, start)
    if header is None:
        return len(text) - start < 64 and "\n" not in text[start:]
    span = _BODY.match(text, header.end(), start + LONGEST)
    stop = span.end() if span else header.end()
    if stop - start >= LONGEST:
        return False
    return stop == len(text) or _UNFINISHED.match(text, stop) is not None


class _Header(msgspec.Struct):
    alg: str


def _decoded(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (Error, ValueError):
        return b""


def _jwt(value: str) -> bool:
    """The first part decodes to a JSON object with `alg`."""
    try:
        msgspec.json.decode(_decoded(value.partition(".")[0]), type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _jwt_like(value: str) -> bool:
    return _jwt(value) or (entropy(value) >= 4.0 and value.count(".") == 2)


_BECH32 = "[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]"

RULES = (
    Rule(
        id="private-key-pem",
        type="PRIVATE_KEY",
        label="a private key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="RFC 7468 (textual encodings), RFC 9580 section 6.2 (OpenPGP armour), OpenSSH PROTOCOL.key",
        starts=("-----BEGIN ",),
        glued=True,
        finder=_pem,
        extent=_pem_open,
        examples=(
            "-----BEGIN RSA PRIVATE KEY-----\n"
            + "MIIEpAIBAAKCAQEA7bq3n2kF9sX0cV5tY8uW1rZ4eQ6oP3aS\n" * 3
            + "-----END RSA PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\\n"
            + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDAC4AWkdwKYSd8\\n" * 2
            + "Ks14IR==\\n-----END PRIVATE KEY-----\\n",
        ),
        counter_examples=(
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
            "-----BEGIN PUBLIC KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDAC4AWkdwKYSd8\n" * 2,
        ),
    ),
    vendor_token(
        "private-key-base64",
        "an encoded private key",
        "RFC 7468 header (-----BEGIN ... PRIVATE KEY-----) in base64, as in kubeconfig client-key-data",
        type="PRIVATE_KEY",
        starts=("LS0tLS1CRUdJTi",),
        then=r"[A-Za-z0-9+/]{12}",
        confirm=r"(?<![A-Za-z0-9+/])LS0tLS1CRUdJTi(?=[A-Za-z0-9+/]{0,40}(?:UFJJVkFURSBLRV|BSSVZBVEUgS0VZ|QUklWQVRFIEtFW))[A-Za-z0-9+/]{80,12000}={0,2}",
        examples=(
            "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcEFJQkFBS0NBUUVBN2JxM24ya0Y5c1gwY1Y1dFk4dVcxclo0ZVE2"
            "b1AzYVMKTUlJRXBBSUJBQUtDQVFFQTdicTNuMmtGOXNYMGNWNXRZOHVXMXJaNGVRNm9QM2FT",
        ),
        counter_examples=("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=",),
    ),
    vendor_token(
        "putty-private-key",
        "a PuTTY private key",
        "PuTTY User Manual, appendix C: PPK file format",
        type="PRIVATE_KEY",
        starts=("PuTTY-User-Key-File-",),
        then=r"\d",
        confirm=r"PuTTY-User-Key-File-\d: [\w@.-]{3,60}\s{1,4}(?:[A-Za-z-]{3,20}: ?[^\n]{0,120}\s{1,4}|[A-Za-z0-9+/]{16,64}={0,2}\s{1,4}){4,80}",
        examples=(
            "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\nPublic-Lines: 1\n"
            "AAAAC3NzaC1lZDI1NTE5AAAAIHx6\nPrivate-Lines: 1\nAAAAIQCl8m7qZ0W3s5d9f1h2j4k6l8\n",
        ),
        counter_examples=("PuTTY-User-Key-File-3: ssh-ed25519",),
    ),
    vendor_token(
        "age-secret-key",
        "an age secret key",
        "age specification, X25519 identities",
        starts=("AGE-SECRET-KEY-1", "AGE-SECRET-KEY-PQ-1"),
        confirm=rf"\bAGE-SECRET-KEY-(?:PQ-)?1{_BECH32}{{58,62}}(?![A-Za-z0-9])",
        check=None,
        examples=("AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" + "QPZRY9X8GF2TVDW0S3JN54KHCE",),
        counter_examples=("AGE-SECRET-KEY-1...",),
    ),
    vendor_token(
        "nats-seed",
        "a NATS seed",
        "NATS documentation, NKeys: encoded seeds",
        starts=("SU", "SA", "SO", "SN", "SC", "SX"),
        then=r"[A-Z2-7]{56}",
        confirm=r"\bS[UAONCX][A-Z2-7]{56}(?![A-Za-z0-9])",
        examples=("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",),
        counter_examples=("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6",),
    ),
    Rule(
        id="json-web-token",
        type="JSON_WEB_TOKEN",
        label="a signed token (JWT)",
        data_class=DataClass.SECRET,
        tier=Tier.VERIFIED,
        severity=Severity.HIGH,
        source="RFC 7519, RFC 7515 (header with `alg`)",
        starts=("eyJ", "ewogI"),
        then=r"[A-Za-z0-9_-]{6}",
        confirm=r"(?<![A-Za-z0-9_-])e(?:yJ|wogI)[A-Za-z0-9_-]{10,4000}\.e(?:yJ|wogI)?[A-Za-z0-9_-]{10,8000}\.[A-Za-z0-9_-]{10,4000}+(?![A-Za-z0-9_-])",
        check=_jwt_like,
        action=Action.ALERT,
        examples=(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI4MjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        ),
        counter_examples=("eyJmb28iOiJiYXIifQ", "eyJhbGciOiJIUzI1NiJ9.x"),
    ),
    Rule(
        id="json-web-token-base64",
        type="JSON_WEB_TOKEN",
        label="a signed token (JWT) in base64",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.HIGH,
        source="RFC 7519 in RFC 4648 base64",
        starts=("ZXlK",),
        then=r"[A-Za-z0-9+/_-]{8}",
        confirm=r"(?<![A-Za-z0-9+/_-])ZXlK[A-Za-z0-9+/_-]{60,12000}+={0,2}(?![A-Za-z0-9+/_-])",
        check=lambda value: _jwt(_decoded(value.rstrip("=").replace("+", "-").replace("/", "_")).decode("latin-1")),
        action=Action.ALERT,
        examples=(
            "ZXlKaGJHY2lPaUpJVXpJMU5pSXNJblI1Y0NJNklrcFhWQ0o5LmV5SnpkV0lpT2lJNE1qTTBOVFkzT0Rrd0luMC5kb3pqZ05yeVA0"
            "SjNqVm1OSGwwdzVOX1hnTDBuM0k5UGxGVVAwVEhzUjhV",
        ),
        counter_examples=("ZXlKaGJHY2lPaUpJVXpJMU5pSXNJblI1Y0NJNklrcFhWQ0o5",),
    ),
    Rule(
        id="bitcoin-private-key",
        type="PRIVATE_KEY",
        label="a Bitcoin private key",
        data_class=DataClass.SECRET,
        tier=Tier.VERIFIED,
        severity=Severity.CRITICAL,
        source="Bitcoin wiki, wallet import format (Base58Check)",
        triggers=(r"\b[5KL][1-9A-HJ-NP-Za-km-z]{50}",),
        confirm=r"\b[5KL][1-9A-HJ-NP-Za-km-z]{50,51}(?![A-Za-z0-9])",
        check=base58check,
        examples=("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ",),
        counter_examples=("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTK",),
    ),
    vendor_token(
        "extended-private-key",
        "an extended private key of a wallet",
        "BIP 32 (serialisation format)",
        type="PRIVATE_KEY",
        starts=("xprv", "tprv", "yprv", "zprv"),
        then=r"[1-9A-HJ-NP-Za-km-z]{8}",
        confirm=r"\b[xtyz]prv[1-9A-HJ-NP-Za-km-z]{107,108}(?![A-Za-z0-9])",
        check=base58check,
        examples=(
            "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
        ),
        counter_examples=("xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stb",),
    ),
    Rule(
        id="recovery-phrase",
        type="RECOVERY_PHRASE",
        label="the recovery phrase of a wallet",
        data_class=DataClass.SECRET,
        tier=Tier.CONTEXT,
        severity=Severity.CRITICAL,
        source="BIP 39 (12 to 24 lower-case words), beside its keyword",
        triggers=(r"(?:seed|recovery|mnemonic|backup|secret)[ _-]phrase", r"mnemonic", r"seed words"),
        nocase=True,
        anchor=Anchor.END,
        confirm=r"[\"'\s:=(]{1,6}(?:is[\s:]{1,3})?[\"'(]?(?P<v>(?-i:[a-z]{3,8}(?: [a-z]{3,8}){11}(?:(?: [a-z]{3,8}){3}){0,4}))(?![ ]?[A-Za-z])",
        check=lambda value: (
            len(set(value.split())) >= 8
            and not {"the", "and", "that", "this", "with", "your", "for"} & set(value.split())
        ),
        action=Action.REDACT,
        examples=("seed phrase: legal winner thank year wave sausage worth useful legal winner wave yellow",),
        counter_examples=("seed phrase: you must keep it safe and never tell anybody what the words really are",),
    ),
    Rule(
        id="ethereum-private-key",
        type="PRIVATE_KEY",
        label="an Ethereum private key",
        data_class=DataClass.SECRET,
        tier=Tier.CONTEXT,
        severity=Severity.HIGH,
        source="Ethereum yellow paper, appendix F (256-bit keys), beside its keyword",
        triggers=(r"(?:private|priv|wallet|deployer|signer|eth|owner|account)[_-]?(?:private[_-]?)?key",),
        nocase=True,
        anchor=Anchor.END,
        confirm=r"\w{0,16}[\"']?\]?\s{0,4}(?::?=>?|:)\s{0,4}[\"']?(?P<v>(?:0x)?[0-9a-f]{64})(?![0-9a-z])",
        check=random_looking,
        examples=('PRIVATE_KEY="0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"',),
        counter_examples=("tx 0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318",),
    ),
    Rule(
        id="wireguard-private-key",
        type="PRIVATE_KEY",
        label="a WireGuard private key",
        data_class=DataClass.SECRET,
        tier=Tier.CONTEXT,
        severity=Severity.CRITICAL,
        source="wg(8), configuration file format",
        triggers=(r"PrivateKey", r"PresharedKey"),
        anchor=Anchor.END,
        confirm=r"\s{0,3}=\s{0,3}(?P<v>[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)(?![A-Za-z0-9+/=])",
        check=random_looking,
        examples=("PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=",),
        counter_examples=("PrivateKey = key",),
    ),
    Rule(
        id="json-web-key",
        type="PRIVATE_KEY",
        label="the private part of a JSON web key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="RFC 7518 section 6 (member `d`), RFC 7517 (member `k`)",
        triggers=(r'"[dk]"\s{0,2}:\s{0,2}"[A-Za-z0-9_-]{40}',),
        anchor=Anchor.END,
        finder=lambda text, _start, end: _jwk(text, end),
        lead=40,
        extent=r"[A-Za-z0-9_-]{0,1400}",
        examples=('{"kty":"EC","crv":"P-256","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}',),
        counter_examples=('{"id":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","d":"x"}',),
    ),
)

_JWK_VALUE = re.compile(r"[A-Za-z0-9_-]{40,1400}(?=\")")


def _jwk(text: str, end: int) -> Span | None:
    match = _JWK_VALUE.match(text, end - 40)
    if match is None or '"kty"' not in text[max(0, end - 240) : end] or not random_looking(match.group()):
        return None
    return match.span()
