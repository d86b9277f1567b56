"""United States: Social Security, taxpayer, driving, passport and vehicle numbers."""

import re

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.checkdigits import us_itin, us_ssn, vin
from ai_platform.protection.rule import Rule, Span
from ai_platform.protection.rules.numbers import keyword_number, word_before

_SSA = "Social Security Administration, POMS RM 10201.030 (structure), 2011 randomisation rules"

_FILE = (
    r"\.(?i:pdf|docx?|xlsx?|pptx?|odt|ods|rtf|txt|md|csv|tsv|json|xml|html?|eml|msg|jpe?g|png|gif|tiff?|bmp|webp|heic|zip)"
    r"(?!\w)"
)
_SSN = re.compile(rf"\d{{3}}-\d{{2}}-\d{{4}}(?={_FILE}|(?![\w/%@]|[-.:]\w|,\d))")
_SSN_IN_NAME = re.compile(r"\d{3}-\d{2}-\d{4}(?![^\W_]|-\d)")
_WIDTH = len("536-22-8491")
_SAID_BEFORE = re.compile(r"(?i)(?<![a-z])(?:ssn|social|security)[_/-](?:[a-z]{1,20}[_-]){0,2}\Z")
_SAID = re.compile(r"(?i)(?<![a-z])(?:ssn|social|security)(?![a-z])")
_OTHER_NUMBERS = frozenset(
    "part sku model ticket ref reference serial isbn issn iso order invoice case item version ean upc ext build bug issue"
    " rfc patent lot batch tracking".split()
)


def _ssn(text: str, _start: int, end: int) -> Span | None:
    """Area, group and serial that are issued, not one of the published samples."""
    start = end - _WIDTH
    before = text[start - 1] if start else " "
    said = before in "_/-" and _SAID_BEFORE.search(text, max(0, start - 52), start) is not None
    match = (_SSN_IN_NAME if said else _SSN).match(text, start)
    if match is None or not us_ssn(match.group()):
        return None
    if said:
        return match.span()
    if before.isalnum() or before in "_-/+.@%$&~" or word_before(text, start) in _OTHER_NUMBERS:
        return None
    if before in ":#" and start > 1 and text[start - 2].isalnum() and not _SAID.search(text, max(0, start - 30), start):
        return None
    return match.span()


_WASHINGTON = re.compile(r"[A-Za-z*]{7}\d{3}[A-Za-z0-9]{2}\Z|WDL[A-Z0-9]{9}\Z")


def _licence(value: str) -> bool:
    """Six digits, or letters and four digits, as the states issue them; Washington's is mostly letters."""
    digits = sum(map(str.isdigit, value))
    return digits >= 6 or (digits >= 4 and any(map(str.isalpha, value))) or _WASHINGTON.match(value) is not None


RULES = (
    Rule(
        id="us-ssn",
        type="US_SSN",
        label="a US Social Security number",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source=_SSA,
        triggers=(r"\b\d{3}-\d{2}-\d{4}", r"_\d{3}-\d{2}-\d{4}"),
        finder=_ssn,
        extent=r"_?[\d-]{0,13}(?:\.\w{0,5})?",
        examples=(
            "My SSN is 536-22-8491.",
            "123-45-6789",
            "ssn=219-09-1234",
            "\n536-22-8491\n",
            "ssn:536-22-8491",
            "17,Ann,536-22-8491,x",
            "536-22-8491.pdf",
            "ssn_536-22-8491",
            "scan of SSN-536-22-8491.PDF",
            "/ssn/536-22-8491",
            "ssn_536-22-8491_scan.pdf",
            "SSN_Ann_Smith_536-22-8491_2.jpg",
        ),
        counter_examples=(
            "078-05-1120",
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "123-00-4567",
            "part 123-45-6789",
            "part 123-45-6789.pdf",
            "536-22-8491.example",
            "536-22-8491.pdf2",
            "run_536-22-8491",
            "session_536-22-8491",
            "part_536-22-8491_scan.pdf",
            "/u/536-22-8491.txt",
        ),
    ),
    keyword_number(
        "us-ssn-keyword",
        "a US Social Security number",
        _SSA,
        type="US_SSN",
        keyword=r"ssn|social security|social-security|social_security",
        number=r"\d{3}[ .]\d{2}[ .]\d{4}|\d{9}",
        check=us_ssn,
        severity=Severity.CRITICAL,
        examples=("SSN: 536228491", "social security number is 536 22 8491", '"ssn": "536228491"'),
        counter_examples=("ssn: 000228491", "order 536228491", "ssn 1234567890"),
    ),
    keyword_number(
        "us-itin",
        "a US taxpayer number (ITIN)",
        "IRS, Individual Taxpayer Identification Number",
        type="US_ITIN",
        keyword=r"itin|individual taxpayer|taxpayer id(?:entification)?|tax id",
        number=r"9\d{2}[- ]?\d{2}[- ]?\d{4}",
        check=us_itin,
        examples=("ITIN 912-90-3456", "tax id: 912903456"),
        counter_examples=("ITIN 912-40-3456",),
    ),
    keyword_number(
        "us-ein",
        "a US employer number (EIN)",
        "IRS, Employer Identification Number",
        type="US_EIN",
        keyword=r"ein|employer id(?:entification)?|fein",
        number=r"\d{2}-\d{7}",
        severity=Severity.INFO,
        examples=("EIN: 12-3456789",),
        counter_examples=("12-3456789",),
    ),
    keyword_number(
        "us-driver-license",
        "a US driving licence number",
        "AAMVA DL/ID Card Design Standard; state formats of 5 to 15 letters and digits",
        type="US_DRIVER_LICENSE",
        keyword=r"driver.{0,3} ?licen[sc]es?|driving licen[sc]es?|drivers? permit|dl number|dl#|dl no|driver_licen[sc]e",
        number=r"(?-i:[A-Z0-9](?:[A-Z0-9*]|[ -](?=\d)){4,19}|[a-z]?\d[0-9-]{4,18})",
        check=_licence,
        examples=(
            "My driver's license number is F162823540116",
            "driver license: 2270-66-1551",
            "DL# D1234567",
            "driver license: 977Z120875",
        ),
        counter_examples=("driver's license 2024", "license 123456", "driver version 12345678"),
    ),
    keyword_number(
        "passport",
        "a passport number",
        "ICAO Doc 9303 (up to nine letters and digits), beside its keyword",
        type="US_PASSPORT",
        keyword=r"passport|reisepass|passeport|pasaporte|passaporto",
        number=r"[A-Z]{0,2}\d{6,9}[A-Z]?|[A-Z]\d{2}[A-Z]{2}\d{4}",
        examples=("passport number: 912803456", "Passport No. C01234567", "passport: AB1234567"),
        counter_examples=("passport 1234", "the passport office"),
    ),
    Rule(
        id="passport-mrz",
        type="PASSPORT_MRZ",
        label="the machine-readable zone of a passport",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.HIGH,
        source="ICAO Doc 9303 part 4 (TD3)",
        starts=("P<", "I<", "V<"),
        then=r"[A-Z<]{8}",
        confirm=r"\b[PIV]<[A-Z]{3}[A-Z<]{20,39}(?:\s{1,4}[A-Z0-9<]{28,44})?(?![A-Z0-9<])",
        examples=("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10",),
        counter_examples=("P<UTO",),
    ),
    keyword_number(
        "vehicle-identification",
        "a vehicle identification number",
        "ISO 3779; 49 CFR 565 (check digit)",
        type="VIN",
        keyword=r"vin|vehicle id(?:entification)?|chassis",
        number=r"(?-i:[A-HJ-NPR-Z0-9]{17})",
        check=vin,
        severity=Severity.WARNING,
        examples=("VIN: 1M8GDM9AXKP042788",),
        counter_examples=("VIN: 1M8GDM9A1KP042788", "1M8GDM9AXKP042788"),
    ),
    keyword_number(
        "date-of-birth",
        "a date of birth",
        "ISO 8601 and everyday notations, beside its keyword",
        type="DATE_OF_BIRTH",
        keyword=r"dob|d\.o\.b\.?|date[ _]of[ _]birth|birth[ _-]?date|born on|geburtsdatum|date de naissance",
        number=r"\d{4}-\d{2}-\d{2}|\d{1,2}[/.-]\d{1,2}[/.-](?:19|20)?\d{2}"
        r"|\d{1,2}(?:st|nd|rd|th)? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6} \d{4}"
        r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6} \d{1,2},? \d{4}",
        severity=Severity.WARNING,
        examples=("DOB: 04/12/1981", "date of birth is 1981-12-04", "born on 4 December 1981"),
        counter_examples=("built on 2024-01-02", "dob 12"),
    ),
)
