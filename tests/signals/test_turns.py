"""How many proxies are asked at a time when nobody has the time to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from meshguard.signals.turns import FEWEST, Turns

DEADLINE_S = 5.0


def at_once_after(events: Iterable[tuple[float, str]], most: int = 16) -> int:
    """Let answers come, or not, at these times; return how many turns are then given at a time."""
    now = 0.0
    turns = Turns(most, DEADLINE_S, lambda: now)
    for at, event in events:
        now = at
        (turns.answered if event == "answered" else turns.late)()
    return asyncio.run(_given(turns, most))


async def _given(turns: Turns, asking: int) -> int:
    most = busy = 0

    async def ask() -> None:
        nonlocal most, busy
        async with turns.turn():
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0)
            busy -= 1

    await asyncio.gather(*(ask() for _ in range(2 * asking)))
    return most


@pytest.mark.parametrize(
    ("events", "at_once"),
    [
        ([], 16),
        ([(5.0, "late")] * 16, 8),
        ([(5.0, "late"), (10.0, "late")], 4),
        ([(5.0, "late"), (10.0, "late"), (15.0, "late"), (20.0, "late"), (25.0, "late")], FEWEST),
        ([(5.0, "late"), (6.0, "answered"), (6.1, "answered")], 10),
        ([(1.0 * second, "answered") for second in range(40)], 16),
        ([(4.0, "answered"), (5.0, "late"), (6.0, "answered"), (7.0, "late")], 16),
    ],
    ids=["calm", "a whole batch", "twice", "never none", "one more each", "never more", "some hang, others answer"],
)
def test_fewer_are_asked_while_nobody_answers(events: list[tuple[float, str]], at_once: int) -> None:
    assert at_once_after(events) == at_once


def test_a_turn_is_given_back_when_the_question_fails() -> None:
    async def scenario() -> None:
        turns = Turns(1, DEADLINE_S, lambda: 0.0)
        with pytest.raises(OSError, match="reset"):
            async with turns.turn():
                raise OSError("reset")
        async with asyncio.timeout(1), turns.turn():
            pass

    asyncio.run(scenario())
