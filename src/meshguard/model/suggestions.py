"""The nearest name to one that does not exist: a typo must not cost a person the night."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def hint(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the known names when none is near; to be added to a sentence."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names) or 'none'}"
