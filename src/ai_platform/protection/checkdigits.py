"""Check digits and structures of numbers: pure functions, True = valid. Values arrive as written unless said otherwise.

The oracle is the standard or authority named beside each function. Above: rules/*. Below: nothing.
"""

from collections.abc import Iterable
from datetime import date

_LETTERS_AS_NUMBERS = {ord(char): str(int(char, 36)) for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def digits_of(value: str) -> str:
    """`value` without separators."""
    if value.isdigit():
        return value
    # for short texts five replacements cost a third of one translation
    return value.replace(" ", "").replace("-", "").replace(".", "").replace("/", "").replace("\u00a0", "")


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B over ASCII digits without separators."""
    raw = digits.encode()
    return (sum(raw[-1::-2]) + sum(raw[-2::-2].translate(_DOUBLED)) - 48 * len(raw)) % 10 == 0


def luhn_number(value: str) -> bool:
    """Luhn over the digits of `value`, separators ignored; not one digit repeated."""
    digits = digits_of(value)
    return _digits(digits) and luhn(digits) and len(set(digits)) > 1


def weighted(digits: str, weights: Iterable[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def mod97(value: str) -> bool:
    """ISO 7064 MOD 97-10 with the first four characters moved to the end (ISO 13616, IBAN)."""
    return int((value[4:] + value[:4]).translate(_LETTERS_AS_NUMBERS)) % 97 == 1


def mod11_10(digits: str) -> bool:
    """ISO 7064 MOD 11,10 (German tax id, Croatian OIB)."""
    rest = 10
    for digit in digits[:-1]:
        rest = (int(digit) + rest) % 10 or 10
        rest = rest * 2 % 11
    return (11 - rest) % 10 == int(digits[-1])


def verhoeff(digits: str) -> bool:
    """Verhoeff's dihedral check (Aadhaar)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _VERHOEFF_D[check][_VERHOEFF_P[place % 8][int(digit)]]
    return check == 0


def _dihedral() -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(
            ((a + b) % 5 if b < 5 else (a + b) % 5 + 5) if a < 5 else ((a - b) % 5 + 5 if b < 5 else (a - b) % 5)
            for b in range(10)
        )
        for a in range(10)
    )


def _permutations() -> tuple[tuple[int, ...], ...]:
    step = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    rows = [tuple(range(10))]
    for _ in range(7):
        rows.append(tuple(step[value] for value in rows[-1]))
    return tuple(rows)


_VERHOEFF_D = _dihedral()
_VERHOEFF_P = _permutations()


def _digits(value: str) -> bool:
    return value.isascii() and value.isdigit()


def is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _date(digits: str, *, month_step: int = 0) -> bool:
    """YYMMDD at the start. month_step: added to the month for some centuries (Poland, Czechia)."""
    month = int(digits[2:4])
    return is_date(2000, month % month_step if month_step else month, int(digits[4:6]))


def us_ssn(value: str) -> bool:
    """Area, group and serial as SSA assigns them; published sample numbers are not findings (SSA, POMS RM 10201)."""
    digits = digits_of(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000":
        return False
    return digits not in {"078051120", "219099999", "457555462"} and len(set(digits)) > 2


def us_itin(value: str) -> bool:
    """IRS: 9xx, fourth and fifth digit 50-65, 70-88, 90-92 or 94-99."""
    group = int(digits_of(value)[3:5])
    return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99


def aba_routing(value: str) -> bool:
    """American Bankers Association: weights 3-7-1, first two digits 00-12, 21-32, 61-72 or 80."""
    start = int(value[:2])
    assigned = start <= 12 or 21 <= start <= 32 or 61 <= start <= 72 or start == 80
    return assigned and value != "000000000" and weighted(value, (3, 7, 1) * 3) % 10 == 0


def npi(value: str) -> bool:
    """CMS: Luhn over 80840 + the number."""
    return luhn("80840" + value)


def dea(value: str) -> bool:
    """DEA registration: (1+3+5) + 2*(2+4+6) ends in the seventh digit."""
    digits = value[2:]
    return (weighted(digits, (1, 2, 1, 2, 1, 2))) % 10 == int(digits[6])


def vin(value: str) -> bool:
    """ISO 3779 with the North American check digit (49 CFR 565)."""
    letters = dict(
        zip(
            "ABCDEFGHJKLMNPRSTUVWXYZ",
            (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
            strict=True,
        )
    )
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum((int(c) if c.isdigit() else letters.get(c, 0)) * w for c, w in zip(value, weights, strict=True))
    return "0123456789X"[total % 11] == value[8]


def uk_nhs(value: str) -> bool:
    """NHS Data Dictionary: modulus 11, weights 10 to 2."""
    digits = digits_of(value)
    return (11 - weighted(digits, range(10, 1, -1)) % 11) % 11 == int(digits[9]) and len(set(digits)) > 2


def uk_nino(value: str) -> bool:
    """HMRC NIM39110: prefixes that are not issued."""
    prefix = value[:2].upper()
    return prefix not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def fr_nir(value: str) -> bool:
    """INSEE: 97 minus the first thirteen digits modulo 97; Corsica 2A = 19, 2B = 18."""
    plain = digits_of(value).upper().replace("2A", "19").replace("2B", "18")
    return _digits(plain) and 97 - int(plain[:13]) % 97 == int(plain[13:15]) and plain[3:5] != "00"


_ES_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def es_nif(value: str) -> bool:
    """Ministerio del Interior: letter of the number modulo 23; NIE begins with X, Y, Z."""
    plain = digits_of(value).upper()
    number = plain[:-1].translate(str.maketrans("XYZ", "012"))
    return _digits(number) and _ES_LETTERS[int(number) % 23] == plain[-1]


def it_fiscal_code(value: str) -> bool:
    """DM 23/12/1976: odd and even places by table, modulo 26."""
    plain = value.upper()
    odd = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
    odd |= dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", _IT_ODD, strict=True))
    total = sum(odd[char] if place % 2 == 0 else _it_even(char) for place, char in enumerate(plain[:15]))
    return chr(65 + total % 26) == plain[15]


_IT_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _it_even(char: str) -> int:
    return int(char) if char.isdigit() else ord(char) - 65


def de_tax_id(value: str) -> bool:
    """Bundeszentralamt für Steuern: eleven digits, MOD 11,10, one digit two or three times in the first ten."""
    digits = digits_of(value)
    repeated = [count for digit in set(digits[:10]) if (count := digits[:10].count(digit)) > 1]
    return digits[0] != "0" and mod11_10(digits) and repeated in ([2], [3])


def nl_bsn(value: str) -> bool:
    """RvIG: eleven test with weight -1 for the last digit."""
    digits = digits_of(value)
    return weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0 and len(set(digits)) > 2


def be_national_number(value: str) -> bool:
    """Rijksregister: 97 minus the first nine digits modulo 97, with 2 before them for births from 2000."""
    digits = digits_of(value)
    check = int(digits[9:])
    month = int(digits[2:4])  # plus 20 or 40 in the BIS numbers of people who are not in the register
    return check in (97 - int(digits[:9]) % 97, 97 - int("2" + digits[:9]) % 97) and month <= 52 and month % 20 <= 12


def pt_nif(value: str) -> bool:
    """Autoridade Tributária: weights 9 to 2, modulus 11."""
    digits = digits_of(value)
    rest = weighted(digits, range(9, 1, -1)) % 11
    return digits[0] != "0" and int(digits[8]) == (0 if rest < 2 else 11 - rest)


def pl_pesel(value: str) -> bool:
    """PESEL register: weights 1-3-7-9, date with century in the month."""
    return weighted(value, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0 and _date(value, month_step=20)


def pl_nip(value: str) -> bool:
    """Ministerstwo Finansów: weights 6-5-7-2-3-4-5-6-7, modulus 11."""
    digits = digits_of(value)
    return weighted(digits, (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == int(digits[9])


def fi_hetu(value: str) -> bool:
    """Digital and Population Data Services Agency: number modulo 31 in a fixed alphabet."""
    number = int(value[:6] + value[7:10])
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[number % 31] == value[10].upper()


def se_personal_number(value: str) -> bool:
    """Skatteverket: Luhn over ten digits; a co-ordination number has 60 added to its day."""
    digits = digits_of(value.replace("+", ""))[-10:]
    return luhn(digits) and is_date(2000, int(digits[2:4]), int(digits[4:6]) % 60)


def no_birth_number(value: str) -> bool:
    """Skatteetaten: two modulus-11 check digits."""
    digits = digits_of(value)
    first = -weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11
    second = -weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return first == int(digits[9]) and second == int(digits[10])


def ch_ahv(value: str) -> bool:
    """Zentrale Ausgleichsstelle: EAN-13 check digit."""
    digits = digits_of(value)
    return weighted(digits, (1, 3) * 6 + (1,)) % 10 == 0


def at_svnr(value: str) -> bool:
    """Dachverband der Sozialversicherungsträger: weights 3-7-9-(0)-5-8-4-2-1-6, modulus 11."""
    digits = digits_of(value)
    return digits[0] != "0" and weighted(digits, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == int(digits[3])


def ie_pps(value: str) -> bool:
    """Department of Social Protection: weights 8 to 2 (and 9 for a second letter, but not W, T and X), modulus 23."""
    plain = value.upper()
    second = plain[8:]
    total = weighted(plain, range(8, 1, -1)) + (9 * (ord(second) - 64) if second and second not in "WTX" else 0)
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == plain[7]


def cz_birth_number(value: str) -> bool:
    """Rodné číslo: the tenth digit is the rest by eleven of nine, 0 where that is 10; month plus 20, 50 or 70."""
    digits = digits_of(value)
    return len(digits) == 10 and int(digits[:9]) % 11 % 10 == int(digits[9]) and 1 <= int(digits[2:4]) % 50 % 20 <= 12


def ro_cnp(value: str) -> bool:
    """Weights 279146358279, modulus 11 (10 becomes 1)."""
    rest = weighted(value, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return int(value[12]) == (1 if rest == 10 else rest) and _date(value[1:7])


def bg_egn(value: str) -> bool:
    """Weights 2-4-8-5-10-9-7-3-6, modulus 11 (10 becomes 0); month plus 20 or 40."""
    rest = weighted(value, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10
    return int(value[9]) == rest and _date(value, month_step=20)


def baltic_code(value: str) -> bool:
    """Estonian isikukood and Lithuanian asmens kodas: two rows of weights, modulus 11."""
    rest = weighted(value, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if rest == 10:
        rest = weighted(value, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return int(value[10]) == rest and _date(value[1:7])


def tr_identity(value: str) -> bool:
    """Nüfus: tenth digit from odd and even places, eleventh from the sum."""
    d = [int(char) for char in value]
    tenth = (7 * (d[0] + d[2] + d[4] + d[6] + d[8]) - (d[1] + d[3] + d[5] + d[7])) % 10
    return d[0] != 0 and tenth == d[9] and sum(d[:10]) % 10 == d[10]
