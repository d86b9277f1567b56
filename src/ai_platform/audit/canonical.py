"""JSON in one spelling (RFC 8785, JCS), so that the same facts always hash to the same bytes.

What JCS cannot spell is respelled, never refused, so that no event is lost for it: whole numbers beyond 2**53 become
strings, non-finite numbers null, lone surrogates and NUL (which PostgreSQL's JSON cannot read) U+FFFD.
Above: leaf. Below: msgspec.
"""

from typing import Any

import msgspec

_EXACT = 2**53
_ALWAYS_COMMON = frozenset({str, bool, type(None)})
_NUL = rb"\u0000"
_sorted = msgspec.json.Encoder(order="sorted")
_as_given = msgspec.json.Encoder()


def canonical(value: Any) -> bytes:
    """The canonical bytes of JSON types, and of what msgspec turns into them (enums, datetimes, decimals, structs).

    Raises:
        TypeError: a value has no JSON form.

    """
    if is_common(value):
        try:
            text = _sorted.encode(value)
        except UnicodeEncodeError:
            pass  # a lone surrogate: respelled below
        else:
            if _NUL not in text:
                return text
    return _as_given.encode(_respell(msgspec.to_builtins(value)))


def is_common(value: Any) -> bool:
    """Whether msgspec's own sorted encoding of `value` is canonical: true of nearly every event.

    False for numbers that JCS spells in another way and for keys that it may sort in another order.
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            # Most of an event's values are these: a call for each would double the cost.
            if type(item) not in _ALWAYS_COMMON and not is_common(item):
                return False
        return True
    if kind is int:
        return -_EXACT <= value <= _EXACT
    if kind is float:
        # A double with a fraction is below 2**53, so only tiny ones are spelled with an exponent.
        return not value.is_integer() and (value >= 1e-4 or value <= -1e-4) and value - value == 0
    if kind is list or kind is tuple:
        return all(map(is_common, value))
    return kind in _ALWAYS_COMMON


def _respell(value: Any) -> Any:
    """The same value in a form that msgspec, keeping the order of keys, writes as JCS would."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        named = {_text(key if isinstance(key, str) else str(key)): _respell(item) for key, item in value.items()}
        return dict(sorted(named.items(), key=_utf16))
    if isinstance(value, (list, tuple)):
        return [_respell(item) for item in value]
    if isinstance(value, float):
        return msgspec.Raw(number(value))
    if isinstance(value, int) and not -_EXACT <= value <= _EXACT:
        return str(value)
    return value


def number(value: float) -> bytes:
    """A double as ECMAScript's Number::toString writes it (RFC 8785 section 3.2.2.3); `null` when it is not finite."""
    if value - value != 0:
        return b"null"
    if value == 0:
        return b"0"
    # repr gives the shortest digits that round-trip, which are ECMAScript's; only the layout differs.
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    sign = "-" if value < 0 else ""
    return (sign + _layout(digits.rstrip("0"), point)).encode()


def _layout(digits: str, point: int) -> str:
    """`digits` with the decimal point after the first `point` of them; an exponent below 1e-6 and from 1e21 on."""
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    if 0 < point <= 21:
        return digits.ljust(point, "0") if len(digits) <= point else f"{digits[:point]}.{digits[point:]}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{tail}e{point - 1:+d}"


def _utf16(pair: tuple[str, Any]) -> bytes:
    return pair[0].encode("utf-16-be")


def _text(text: str) -> str:
    if text.isascii() and "\x00" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\x00", "\ufffd")
