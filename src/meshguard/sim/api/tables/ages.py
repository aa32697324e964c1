"""Spans of time as kubectl shows them. Source: `k8s.io/apimachinery/pkg/util/duration`."""

from __future__ import annotations

from datetime import datetime

UNKNOWN = "<unknown>"


def since(then: str | None, now: str) -> str:
    """How long ago a moment was, both in RFC 3339; `<unknown>` when there is none."""
    if not then:
        return UNKNOWN
    return human(seconds_between(then, now))


def seconds_between(then: str, now: str) -> float:
    """Seconds from one moment to another, both in RFC 3339."""
    return (_moment(now) - _moment(then)).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def human(span_s: float) -> str:
    """`45s`, `3m12s`, `5h`, `2d4h`, `3y`."""
    seconds = int(span_s)
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 60 * 2:
        return f"{seconds}s"
    minutes = int(span_s / 60)
    if minutes < 10:
        rest = seconds % 60
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 60 * 3:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 24 * 8:
        rest = hours % 24
        return f"{days}d{rest}h" if rest else f"{days}d"
    if hours < 24 * 365 * 2:
        return f"{days}d"
    years = days // 365
    if hours < 24 * 365 * 8:
        rest = days % 365
        return f"{years}y{rest}d" if rest else f"{years}y"
    return f"{years}y"
