"""Label selectors as a person types them for kubectl: `app=cart,tier!=test,track in (a, b),!legacy`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KEY = r"(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]*)"
#: Each row: what the requirement looks like, and the operator that it means.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(_KEY + r"\s+in\s+\((?P<values>[^()]*)\)"), "In"),
    (re.compile(_KEY + r"\s+notin\s+\((?P<values>[^()]*)\)"), "NotIn"),
    (re.compile(_KEY + r"\s*!=\s*(?P<values>[A-Za-z0-9._-]*)"), "NotIn"),
    (re.compile(_KEY + r"\s*==?\s*(?P<values>[A-Za-z0-9._-]*)"), "In"),
    (re.compile(r"!\s*" + _KEY), "DoesNotExist"),
    (re.compile(_KEY), "Exists"),
)


def parse_selector(text: str) -> dict[str, Any]:
    """Return the LabelSelector that the text means. Raises ValueError, naming the part that cannot be read."""
    expressions = [_requirement(part) for part in _parts(text)]
    if not expressions:
        raise ValueError("the selector is empty; it would select everything")
    return {"matchExpressions": expressions}


def _parts(text: str) -> Iterator[str]:
    """Split at the commas that are not inside parentheses."""
    for part in re.split(r",(?![^()]*\))", text):
        if part.strip():
            yield part.strip()


def _requirement(part: str) -> Mapping[str, Any]:
    for form, operator in _FORMS:
        match = form.fullmatch(part)
        if match:
            values = match.groupdict().get("values")
            listed = {} if values is None else {"values": [value.strip() for value in values.split(",")]}
            return {"key": match["key"], "operator": operator, **listed}
    raise ValueError(f"cannot read {part!r} in the selector")
