"""How a run comes back days later: wave by wave, with limits for the proxies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshguard.model.quantities import amount

#: Everything that is left, as the last part of `--waves`.
REST = "rest"


@dataclass(frozen=True)
class WaveSizes:
    """How many workloads come back in each wave: numbers, shares of all, and at last the rest."""

    parts: tuple[str, ...] = (REST,)

    @classmethod
    def parse(cls, text: str) -> WaveSizes:
        """Read `1,10%,rest`. Raises ValueError for what is none, in one sentence."""
        parts = tuple(part.strip() for part in text.split(","))
        for position, part in enumerate(parts, start=1):
            if part == REST and position < len(parts):
                raise ValueError(f"'{REST}' is the last wave; nothing can come after it in {text!r}")
            if part != REST and not _is_size(part):
                raise ValueError(f"a wave is a number of workloads, a share like 10% or '{REST}', not {part!r}")
        return cls(parts)

    def of(self, total: int) -> tuple[int, ...]:
        """Return the sizes of the waves for so many workloads; the last part is repeated until all are back.

        A share is rounded up, so that every wave holds at least one.
        """
        sizes: list[int] = []
        left, turn = total, 0
        while left:
            part = self.parts[min(turn, len(self.parts) - 1)]
            sizes.append(min(left, _size(part, total, left)))
            left, turn = left - sizes[-1], turn + 1
        return tuple(sizes)

    def __str__(self) -> str:
        return ",".join(self.parts)


def _is_size(part: str) -> bool:
    number = part.removesuffix("%")
    if not (number.isascii() and number.isdigit()) or not int(number):
        return False
    return not part.endswith("%") or int(number) <= 100


def _size(part: str, total: int, left: int) -> int:
    if part == REST:
        return left
    return -(-int(part[:-1]) * total // 100) if part.endswith("%") else int(part)


@dataclass(frozen=True)
class ProxyLimits:
    """What each proxy may use at most; "" for what shall stay as it is."""

    cpu: str = ""
    memory: str = ""

    @classmethod
    def parse(cls, text: str) -> ProxyLimits:
        """Read `cpu=2,memory=1Gi`; "" is no limit. Raises ValueError for what is none, in one sentence."""
        given = dict(_pairs(text)) if text else {}
        return cls(given.get("cpu", ""), given.get("memory", ""))

    def __bool__(self) -> bool:
        return bool(self.cpu or self.memory)

    def __str__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in (("cpu", self.cpu), ("memory", self.memory)) if value)


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in ("cpu", "memory") or name in seen:
            raise ValueError(f"limits are written as cpu=...,memory=..., each at most once, not {text!r}")
        if amount(value) <= 0:
            raise ValueError(f"a limit is more than nothing, not {part!r}")
        seen.add(name)
        yield name, value


@dataclass(frozen=True)
class Staging:
    """A way back in waves, each behind what the one before it has shown."""

    waves: WaveSizes = WaveSizes()
    limits: ProxyLimits = ProxyLimits()
    """What the proxies of workloads without limits of their own get."""
    replace_limits: bool = False
    """Also where a workload has limits of its own."""
    with_new: bool = False
    """Workloads that came while their namespace was out come along."""
