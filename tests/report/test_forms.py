"""One report in its three forms."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from meshguard.report.document import Fact, Line, Moment, Picture, Prediction, Report, clock
from meshguard.report.html import page
from meshguard.report.write import ReportError, write

_NASTY = "<script>alert('x')</script> & \"quotes\""


def report() -> Report:
    return Report(
        title=f"A title with {_NASTY}",
        summary="Out of the mesh.",
        begins="09:15",
        facts=[Fact("lost", "$3", "$1.8M")],
        compared_with="the story",
        moments=[Moment(60, "node1", _NASTY, "fault"), Moment(120, "operator", "meshguard exit", "glass")],
        pictures=[Picture("P99", "how slow", "ms", [Line("P99", [(float(t), 4.0 + t) for t in range(2000)])], True)],
        predictions=[Prediction("how long", "1-2 s", "3 s", False)],
        findings=["set limits"],
        commands=["meshguard exit"],
        notes=["simulated"],
    )


def test_the_page_stands_alone() -> None:
    html = page(report())
    assert "<script" not in html
    assert not re.search(r"(src|href)\s*=\s*[\"']?https?:", html)
    assert "@import" not in html
    assert html.count("<svg") == 1
    assert 'aria-label="P99' in html


def test_marked_moments_are_in_every_picture() -> None:
    html = page(report())
    assert "fault 09:16" in html
    assert "break-glass 09:17" in html


def test_lines_are_told_apart_by_their_dashes() -> None:
    two = Picture("two", "both", "", [Line("a", [(0, 1), (1, 2)]), Line("b", [(0, 2), (1, 1)])])
    html = page(Report("t", "s", "09:15", pictures=[two]))
    assert "stroke-dasharray" in html


def test_all_forms_tell_the_same(tmp_path: Path) -> None:
    path = write(report(), tmp_path / "deep" / "report.html")
    told = json.loads(path.with_suffix(".json").read_text())
    markdown = path.with_suffix(".md").read_text()
    assert (told["kind"], told["facts"][0]["here"]) == ("Report", "$3")
    for words in ("$1.8M", "NOT as predicted", "set limits", "09:16:00"):
        assert words in markdown


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError):
        write(report(), tmp_path / "file" / "report.html")


@pytest.mark.parametrize(
    ("begins", "seconds", "told"),
    [("09:15", 61, "09:16:01"), ("23:59", 120, "00:01:00"), ("2026-11-27T09:15:30Z", 5, "09:15:35"), ("", 61, "61 s")],
)
def test_moments_are_told_as_times_of_day(begins: str, seconds: float, told: str) -> None:
    assert clock(begins, seconds) == told
