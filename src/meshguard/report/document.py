"""What a report says, whatever its form. Times are seconds since the beginning; `begins` is the time of day then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the headline: what happened here, and beside it what it is compared with ("" for nothing)."""

    title: str
    here: str
    there: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of the timeline."""

    at: float
    who: str
    what: str
    mark: str = ""
    """`fault`, `glass` or `back`: drawn into every picture; "" for an ordinary line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a picture."""

    title: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with a sentence that says what is to be seen in it."""

    title: str
    sentence: str
    unit: str
    lines: Sequence[Line]
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the plan said beside what happened."""

    what: str
    predicted: str
    happened: str
    kept: bool | None
    """None where it cannot be judged."""


@dataclass(frozen=True)
class Report:
    """Everything that is told."""

    title: str
    summary: str
    begins: str
    """The time of day at second 0, `HH:MM` or RFC 3339."""
    facts: Sequence[Fact] = ()
    compared_with: str = ""
    moments: Sequence[Moment] = ()
    pictures: Sequence[Picture] = ()
    predictions: Sequence[Prediction] = ()
    findings: Sequence[str] = ()
    commands: Sequence[str] = ()
    notes: Sequence[str] = field(default=())
    """What the reader has to know before believing it."""

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return asdict(self)


def clock(begins: str, seconds: float) -> str:
    """The time of day, `HH:MM:SS`, of a moment; seconds since the beginning where `begins` is no time of day."""
    text = begins[11:19] if "T" in begins else begins
    try:
        parts = [int(part) for part in text.split(":")]
    except ValueError:
        return f"{seconds:.0f} s"
    total = parts[0] * 3600 + parts[1] * 60 + (parts[2] if len(parts) > 2 else 0) + round(seconds)
    return f"{total // 3600 % 24:02d}:{total // 60 % 60:02d}:{total % 60:02d}"
