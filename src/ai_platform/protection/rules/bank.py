"""Bank accounts and wallets: IBAN, US routing and account numbers, crypto-currency addresses."""

import re

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.checkdigits import aba_routing, mod97
from ai_platform.protection.checkdigits_world import base58check, bech32
from ai_platform.protection.rule import Anchor, Rule, Span
from ai_platform.protection.rules.numbers import keyword_number

_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d{2})",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27"
        "GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22"
        "MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28"
        "TL23TN24TR26UA29VA22VG24XK20YE30",
    )
}
"""Country -> length: SWIFT IBAN registry."""

_LETTER_FIRST = frozenset("AZ BG BH GB GE GI IE IQ IT JO KW LC LV MT MU NI NL PK PS QA RO SC SM SV VG YE".split())
_ANY_FIRST = frozenset("BY DO GT MD".split())
"""With what the account number behind the check digits begins; a digit everywhere else (SWIFT IBAN registry)."""

_UPPER, _ANY_CASE = (
    {
        length: re.compile(rf"[{letters}]{{2}}\d{{2}}(?:[ -]?[{letters}0-9]){{{length - 4}}}")
        for length in set(_LENGTHS.values())
    }
    for letters in ("A-Z", "A-Za-z")
)
"""By the length of the country, separators not counted."""

_LOWER_IBAN = re.compile(
    r"[\"'\s:=#_-]{0,4}(?:is|number|no)?[\"'\s:=#_]{0,4}(?P<v>[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,32})"
)


def _cut(text: str, start: int, end: int, runs: dict[int, re.Pattern[str]], *, said: bool = False) -> Span | None:
    """The first `length of the country` characters of a run, separators not counted. said: a keyword stands before."""
    country = text[start : start + 2].upper()
    length = _LENGTHS.get(country)
    first = text[start + 4 : start + 6].lstrip(" -")[:1]
    if length is None or (country not in _ANY_FIRST and first.isalpha() is not (country in _LETTER_FIRST)):
        return None
    match = runs[length].match(text, start, end)
    if match is None:
        return None
    stop = match.end()
    after = text[stop : stop + 1]
    if after.isalnum() or (after == "_" and not said):
        return None
    whole = match.group().replace(" ", "").replace("-", "").upper()
    return (start, stop) if mod97(whole) and len(set(whole[4:])) > 2 else None


def _iban(text: str, start: int, _end: int) -> Span | None:
    """Length of its country, and the check digits (ISO 7064, mod 97)."""
    if text[start : start + 2] not in _LENGTHS or text[start + 2 : start + 4] in {"00", "01", "99"}:
        return None
    return _cut(text, start, len(text), _UPPER)


def _iban_any_case(text: str, _start: int, end: int) -> Span | None:
    """Length of its country, and the check digits (ISO 7064, mod 97)."""
    match = _LOWER_IBAN.match(text, end)
    return _cut(text, *match.span("v"), _ANY_CASE, said=True) if match else None


_REGISTRY = "ISO 13616-1, SWIFT IBAN registry (length per country, MOD 97-10)"
_COUNTRIES = "|".join(_LENGTHS)

RULES = (
    Rule(
        id="iban",
        type="IBAN_CODE",
        label="a bank account number (IBAN)",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.HIGH,
        source=_REGISTRY,
        triggers=(rf"\b(?:{_COUNTRIES})\d{{2}}[A-Z0-9]{{4}}", rf"\b(?:{_COUNTRIES})\d{{2}}[ -][A-Z0-9]{{4}}"),
        finder=_iban,
        extent=r"[A-Z0-9 -]{0,48}",
        action=Action.REDACT,
        examples=("GB82 WEST 1234 5698 7654 32", "pay to DE89370400440532013000 today", "NL91ABNA0417164300"),
        counter_examples=("GB82 WEST 1234 5698 7654 33", "ref: DE38805961751814696825", "DE893704004405320130"),
    ),
    Rule(
        id="iban-keyword",
        type="IBAN_CODE",
        label="a bank account number (IBAN)",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.HIGH,
        source=_REGISTRY,
        triggers=(r"iban",),
        nocase=True,
        anchor=Anchor.END,
        finder=_iban_any_case,
        extent=r"[\w \"':=#-]{0,70}",
        action=Action.REDACT,
        examples=("my iban is gb42nawi04454264788619", "iban_GB42NAWI04454264788619_scan.pdf"),
        counter_examples=("my iban is gb42nawi04454264788618", "iban"),
    ),
    keyword_number(
        "us-bank-routing",
        "a US bank routing number",
        "American Bankers Association, Key to Routing Numbers (3-7-1 check digit)",
        type="ABA_ROUTING_NUMBER",
        keyword=r"aba|routing|rtn|aba routing|routing transit",
        number=r"\d{9}",
        check=aba_routing,
        data_class=DataClass.PCI,
        examples=("routing number: 021000021", "ABA 111000025"),
        counter_examples=("routing number: 021000022", "021000021"),
    ),
    keyword_number(
        "bank-account",
        "a bank account number",
        "NACHA operating rules (account number of 4 to 17 digits), beside its keyword",
        type="US_BANK_NUMBER",
        keyword=r"(?:bank|checking|savings?|deposit)[ _-]?(?:account|acct)|account (?:number|no)|acct (?:number|no)|acct#",
        number=r"\d{8,17}",
        data_class=DataClass.PCI,
        severity=Severity.WARNING,
        examples=("bank account number 945456787654", "Account number: 12345678"),
        counter_examples=("account 12345678", "bank account 1234"),
    ),
    keyword_number(
        "uk-sort-code",
        "a UK sort code and account number",
        "UK Finance, sort codes; Vocalink, modulus checking",
        type="UK_BANK_NUMBER",
        keyword=r"sort[ _-]?code",
        number=r"\d{2}-\d{2}-\d{2}(?:\W{1,4}(?:account|acc|a/c)?\W{0,4}(?:number|no)?\W{0,3}\d{8})?",
        data_class=DataClass.PCI,
        severity=Severity.WARNING,
        examples=("sort code 20-00-00", "Sort code: 20-00-00, account number 55779911"),
        counter_examples=("20-00-00",),
    ),
    Rule(
        id="bitcoin-address",
        type="CRYPTO",
        label="a Bitcoin address",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.INFO,
        source="Bitcoin developer reference (Base58Check)",
        triggers=(r"\b[13][1-9A-HJ-NP-Za-km-z]{26}",),
        confirm=r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}(?![A-Za-z0-9])",
        check=base58check,
        examples=("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",),
        counter_examples=("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",),
    ),
    Rule(
        id="bitcoin-address-bech32",
        type="CRYPTO",
        label="a Bitcoin address",
        data_class=DataClass.PCI,
        tier=Tier.VERIFIED,
        severity=Severity.INFO,
        source="BIP 173 and BIP 350 (bech32, bech32m)",
        starts=("bc1", "tb1"),
        then=r"[a-z0-9]{8}",
        confirm=r"\b(?:bc|tb)1[ac-hj-np-z02-9]{11,71}(?![A-Za-z0-9])",
        check=bech32,
        examples=("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",),
        counter_examples=("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mda",),
    ),
)
