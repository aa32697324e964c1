"""The five fields of a CronJob's schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_NAMES = {
    name: str(number)
    for names, start in (
        ("jan feb mar apr may jun jul aug sep oct nov dec", 1),
        ("sun mon tue wed thu fri sat", 0),
    )
    for number, name in enumerate(names.split(), start)
}
_HORIZON = timedelta(days=4 * 366)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The minutes at which something is due."""

    fields: tuple[frozenset[int], ...]
    any_day: tuple[bool, bool]
    """Whether the day of the month, and that of the week, is left open."""

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule. Raises ValueError."""
        parts = _WORDS.get(text.strip(), text).split()
        if len(parts) != len(_RANGES):
            raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{text}]")
        fields = [_values(part, *bounds) for part, bounds in zip(parts, _RANGES, strict=True)]
        fields[4] = frozenset(day % 7 for day in fields[4])
        return cls(tuple(fields), (parts[2].startswith("*"), parts[4].startswith("*")))

    def matches(self, moment: datetime) -> bool:
        """Tell whether something is due in this minute."""
        minute, hour, day, month, weekday = self.fields
        if moment.minute not in minute or moment.hour not in hour or moment.month not in month:
            return False
        of_month, of_week = moment.day in day, (moment.weekday() + 1) % 7 in weekday
        return (of_month and of_week) if any(self.any_day) else (of_month or of_week)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first minute after a moment; None when there is none within four years."""
        at = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = at + _HORIZON
        while at < end:
            if self.matches(at):
                return at
            at += timedelta(minutes=1) if at.hour in self.fields[1] else timedelta(minutes=60 - at.minute)
        return None

    def last_between(self, start: datetime, end: datetime) -> datetime | None:
        """The last minute after `start` and not after `end`."""
        found, at = None, self.next_after(start)
        while at is not None and at <= end:
            found, at = at, self.next_after(at)
        return found


def _values(text: str, low: int, high: int) -> frozenset[int]:
    out: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span in ("*", "?"):
            begin, end = low, high
        else:
            begin = int(_NAMES.get(first, first))
            end = int(_NAMES.get(last, last)) if last else (high if step else begin)
        if not low <= begin <= end <= high:
            raise ValueError(f"{part} is out of range")
        out.update(range(begin, end + 1, int(step or 1)))
    return frozenset(out)
