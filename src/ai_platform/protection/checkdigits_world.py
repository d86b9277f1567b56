"""Check digits of numbers from outside Europe and the United States, and of crypto-currency addresses."""

from hashlib import sha256

from ai_platform.protection.checkdigits import digits_of, is_date, luhn, verhoeff, weighted


def in_aadhaar(value: str) -> bool:
    """UIDAI: Verhoeff; does not begin with 0 or 1."""
    digits = digits_of(value)
    return digits[0] not in "01" and verhoeff(digits) and len(set(digits)) > 2


def in_pan(value: str) -> bool:
    """Income Tax Department: the fourth letter says what kind of holder."""
    return value[3].upper() in "ABCFGHJKLPT"


def br_cpf(value: str) -> bool:
    """Receita Federal: two modulus-11 digits."""
    digits = digits_of(value)
    if len(set(digits)) == 1:
        return False
    first = weighted(digits, range(10, 1, -1)) * 10 % 11 % 10
    second = weighted(digits, range(11, 1, -1)) * 10 % 11 % 10
    return first == int(digits[9]) and second == int(digits[10])


def br_cnpj(value: str) -> bool:
    """Receita Federal: two modulus-11 digits."""
    plain = digits_of(value)
    values = [ord(char) - 48 for char in plain]  # letters since July 2026
    first, second = (
        -sum(each * weight for each, weight in zip(values, weights, strict=False)) % 11 % 10
        for weights in ((5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))
    )
    return len(set(plain)) > 1 and [first, second] == values[12:]


def cl_rut(value: str) -> bool:
    """Servicio de Impuestos Internos: modulus 11, weights 2 to 7 from the right."""
    plain = digits_of(value).upper()
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(plain[:-1])))
    return "0K987654321"[total % 11] == plain[-1]


def mx_curp(value: str) -> bool:
    """RENAPO: base 37 alphabet with Ñ, weights 18 to 2."""
    alphabet = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(alphabet.index(char) * (18 - place) for place, char in enumerate(value[:17]))
    return str((10 - total % 10) % 10) == value[17]


def ar_cuit(value: str) -> bool:
    """AFIP: weights 5-4-3-2-7-6-5-4-3-2, modulus 11."""
    digits = digits_of(value)
    check = -weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return (9 if check == 10 else check) == int(digits[10])


def cn_resident_id(value: str) -> bool:
    """GB 11643-1999: ISO 7064 MOD 11-2 and a date of birth."""
    total = weighted(value[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    born = is_date(int(value[6:10]), int(value[10:12]), int(value[12:14])) and 1880 <= int(value[6:10]) <= 2100
    return born and "10X98765432"[total % 11] == value[17].upper()


def kr_rrn(value: str) -> bool:
    """Ministry of the Interior: date of birth, then 1-8 (no check digit since October 2020)."""
    digits = digits_of(value)
    return is_date(2000, int(digits[2:4]), int(digits[4:6])) and digits[6] in "12345678"


def jp_my_number(value: str) -> bool:
    """Digital Agency: weights 6-5-4-3-2-7-6-5-4-3-2, modulus 11."""
    digits = digits_of(value)
    rest = weighted(digits, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return int(digits[11]) == (0 if rest <= 1 else 11 - rest)


def sg_nric(value: str) -> bool:
    """Immigration & Checkpoints Authority: weights 2-7-6-5-4-3-2, letter by first letter."""
    plain = value.upper()
    total = weighted(plain[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(plain[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "XWUTRQPNJLK"}
    row = letters[plain[0]]
    return (row[10 - total % 11] if plain[0] == "M" else row[total % 11]) == plain[8]


def th_identity(value: str) -> bool:
    """Ministry of Interior: weights 13 to 2, modulus 11."""
    digits = digits_of(value)
    return (11 - weighted(digits, range(13, 1, -1)) % 11) % 10 == int(digits[12]) and digits[0] in "12345678"


def au_tfn(value: str) -> bool:
    """Australian Taxation Office: weights 1-4-3-7-5-8-6-9-10, modulus 11."""
    digits = digits_of(value)
    return weighted(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0 and len(set(digits)) > 1


def au_medicare(value: str) -> bool:
    """Services Australia: weights 1-3-7-9-1-3-7-9, modulus 10; begins with 2 to 6."""
    digits = digits_of(value)
    return digits[0] in "23456" and weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(digits[8])


def nz_ird(value: str) -> bool:
    """Inland Revenue: two rows of weights, modulus 11."""
    digits = digits_of(value).zfill(9)
    if not 10_000_000 < int(digits) < 200_000_000:
        return False
    rest = -weighted(digits, (3, 2, 7, 6, 5, 4, 3, 2)) % 11
    if rest == 10:
        rest = -weighted(digits, (7, 4, 3, 2, 5, 2, 7, 6)) % 11
    return rest == int(digits[8])


def za_identity(value: str) -> bool:
    """Department of Home Affairs: date of birth, citizenship 0 or 1, Luhn."""
    return luhn(value) and is_date(2000, int(value[2:4]), int(value[4:6])) and value[10] in "01"


def il_identity(value: str) -> bool:
    """Population Authority: Luhn over nine digits."""
    digits = digits_of(value).zfill(9)
    return luhn(digits) and len(set(digits)) > 2


def my_nric(value: str) -> bool:
    """National Registration Department: date of birth, place code."""
    digits = digits_of(value)
    return is_date(2000, int(digits[2:4]), int(digits[4:6])) and digits[6:8] not in {"00", "17", "18", "19", "20"}


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58check(value: str) -> bool:
    """Bitcoin: the last four bytes are the head of a double SHA-256."""
    number = 0
    for char in value:
        number = number * 58 + _BASE58.index(char)
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    raw = bytes(len(value) - len(value.lstrip("1"))) + raw
    return len(raw) >= 25 and sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bech32(value: str) -> bool:
    """BIP 173 and BIP 350: the checksum polynomial gives 1 or 0x2bc830a3."""
    prefix, _, data = value.lower().rpartition("1")
    values = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    check = 1
    for digit in values + [_BECH32.find(char) for char in data]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ digit
        for place, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> place) & 1 else 0
    return check in (1, 0x2BC830A3)
