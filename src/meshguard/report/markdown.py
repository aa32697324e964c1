"""The report as Markdown, without the pictures."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.report.document import Moment, Report, clock


def text(report: Report) -> str:
    """The whole text."""
    lines = [f"# {report.title}", "", report.summary, ""]
    if report.facts:
        lines += _table(("", "here", report.compared_with), ((f.title, f"**{f.here}**", f.there) for f in report.facts))
    if report.moments:
        rows = ((clock(report.begins, m.at), m.who, f"**{m.what}**" if m.mark else m.what) for m in _ordered(report))
        lines += ["## Timeline", "", *_table(("time", "who", "what"), rows)]
    if report.pictures:
        rows2 = ((p.title, p.sentence) for p in report.pictures)
        lines += ["## Pictures (in the HTML report)", "", *_table(("picture", "what is to be seen"), rows2)]
    if report.predictions:
        words = {True: "as predicted", False: "NOT as predicted", None: "cannot be judged"}
        rows3 = ((p.what, p.predicted, p.happened, words[p.kept]) for p in report.predictions)
        lines += ["## Predicted and happened", "", *_table(("", "the plan said", "what happened", ""), rows3)]
    for title, items in (("Findings", report.findings), ("Before you believe it", report.notes)):
        lines += [f"## {title}", "", *(f"- {item}" for item in items), ""] if items else []
    if report.commands:
        lines += ["## Commands", "", "```", *report.commands, "```", ""]
    return "\n".join(lines)


def _ordered(report: Report) -> list[Moment]:
    return sorted(report.moments, key=lambda m: m.at)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(head), line(("---",) * len(head)), *(line(row) for row in rows), ""]
