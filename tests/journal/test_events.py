"""Every event is read back as it was written; an absent field stays absent and null stays null."""

from __future__ import annotations

import json

import pytest

from meshguard.journal import events as ev
from meshguard.journal.errors import JournalError
from meshguard.journal.events import Event, event_from
from meshguard.model.change import ABSENT
from meshguard.model.verdict import Truth, Verdict
from tests.fakes.journals import EVENTS, REF


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_an_event_survives_json(event: Event) -> None:
    assert event_from(event.name, json.loads(json.dumps(event.payload()))) == event


def test_every_event_has_a_sample() -> None:
    assert {event.name for event in EVENTS} == {kind.name for kind in Event.__subclasses__() if kind.name}


def test_absent_is_a_missing_key_and_null_is_not() -> None:
    payload = ev.Conflicted("1", REF, "why", ("spec",), expected=ABSENT, found=None).payload()
    assert "expected" not in payload
    assert payload["found"] is None


def test_an_event_of_a_newer_version_is_refused_with_a_sentence() -> None:
    with pytest.raises(JournalError, match="'teleported' is unknown to this version of meshguard"):
        event_from("teleported", {})
    with pytest.raises(JournalError, match="'seen' is not as this version"):
        event_from("seen", {"awaitId": "a", "afterS": 1.0, "colour": "red"})


def test_a_long_list_of_missing_things_is_shortened() -> None:
    verdict = Verdict(Truth.NO, 0, 2400, tuple(f"pod {n}" for n in range(2400)))
    missing = ev.awaiting("a", "it is so", verdict, 60).missing
    assert len(missing) == ev.MISSING_SHOWN + 1
    assert missing[-1] == "and 2380 more"
