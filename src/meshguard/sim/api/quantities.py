"""Quantities in their canonical form, as `k8s.io/apimachinery/pkg/api/resource` writes them."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i|)")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIXES = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_PATTERN = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"


@lru_cache(maxsize=4096)
def canonical(text: str | int | float) -> str:
    """Return `1500m` for `1.5`, `1Gi` for `1024Mi`. Raises ValueError, in Go's words, for what is no quantity."""
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise ValueError(f"quantities must match the regular expression '{_PATTERN}'")
    number, suffix = Decimal(match[1]), match[2]
    if suffix in _BINARY:
        return _binary(number * 1024 ** _BINARY[suffix])
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return _exponent(number * Decimal(10) ** int(suffix[1:]))
    return _decimal(number * Decimal(10) ** _DECIMAL[suffix])


def _binary(value: Decimal) -> str:
    if value == 0:
        return "0"
    if value != int(value):
        return _decimal(value)
    whole, power = int(value), 0
    while whole % 1024 == 0 and power < 6:
        whole, power = whole // 1024, power + 1
    return f"{whole}{ {v: k for k, v in _BINARY.items()}.get(power, '') }"


def _shifted(value: Decimal) -> tuple[int, int]:
    """Mantissa and exponent, the exponent as large a multiple of three as the mantissa allows."""
    value = value.quantize(Decimal("1e-9"), rounding=ROUND_UP)
    exponent = 18
    while exponent > -9 and value % Decimal(10) ** exponent:
        exponent -= 3
    return int(value / Decimal(10) ** exponent), exponent


def _decimal(value: Decimal) -> str:
    if value == 0:
        return "0"
    mantissa, exponent = _shifted(value)
    return f"{mantissa}{_SUFFIXES[exponent]}"


def _exponent(value: Decimal) -> str:
    if value == 0:
        return "0"
    mantissa, exponent = _shifted(value)
    return f"{mantissa}e{exponent}" if exponent else str(mantissa)
