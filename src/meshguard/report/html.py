"""The report as one HTML file: nothing is loaded from elsewhere; for phone, paper, and without colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from meshguard.report.charts import draw
from meshguard.report.document import Moment, Report, clock

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 2px solid #111; }
.lead { font-size: 1.05rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid #bbb; }
td.t { white-space: nowrap; font-variant-numeric: tabular-nums; }
.facts td { font-size: 1.05rem; }
.facts td.here { font-weight: 700; }
tr.mark td { font-weight: 700; border-left: 4px solid #111; padding-left: .5rem; }
figure { margin: 1rem 0; break-inside: avoid; }
figure svg { width: 100%; height: auto; }
figcaption { color: #333; }
pre { background: #f3f3f3; padding: .6rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
@media (max-width: 40rem) {
  body { padding: .6rem; }
  th, td { padding-right: .3rem; font-size: .92rem; }
  td { overflow-wrap: anywhere; }
  figure .scroll { overflow-x: auto; }
  figure svg { min-width: 34rem; }
}
@media print {
  body { max-width: none; font-size: 11pt; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
  pre { border: 1px solid #999; }
}
"""


def page(report: Report) -> str:
    """The whole page."""
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="lead">{escape(report.summary)}</p>',
        _facts(report),
        _timeline(report.moments, report.begins),
        _pictures(report),
        _predictions(report),
        _list("Findings", report.findings),
        _commands(report.commands),
        _list("Before you believe it", report.notes),
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body>"
    )
    return head + "\n".join(part for part in parts if part) + "</body></html>\n"


def _facts(report: Report) -> str:
    if not report.facts:
        return ""
    compared = report.compared_with
    other = f"<th>{escape(compared)}</th>" if compared else ""
    rows = "".join(
        f'<tr><td>{escape(f.title)}</td><td class="here">{escape(f.here)}</td>'
        + (f"<td>{escape(f.there)}</td>" if compared else "")
        + "</tr>"
        for f in report.facts
    )
    return f'<table class="facts"><thead><tr><th></th><th>here</th>{other}</tr></thead><tbody>{rows}</tbody></table>'


def _timeline(moments: Sequence[Moment], begins: str) -> str:
    if not moments:
        return ""
    rows = "".join(
        f'<tr{" class=mark" if m.mark else ""}><td class="t">{clock(begins, m.at)}</td>'
        f"<td>{escape(m.who)}</td><td>{escape(m.what)}</td></tr>"
        for m in sorted(moments, key=lambda m: m.at)
    )
    head = "<tr><th>time</th><th>who</th><th>what</th></tr>"
    return f"<h2>Timeline</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _pictures(report: Report) -> str:
    if not report.pictures:
        return ""
    figures = "".join(
        f"<figure><figcaption><strong>{escape(p.title)}</strong>: {escape(p.sentence)}</figcaption>"
        f'<div class="scroll">{draw(p, report.moments, report.begins)}</div></figure>'
        for p in report.pictures
    )
    return f"<h2>Pictures</h2>{figures}"


def _predictions(report: Report) -> str:
    if not report.predictions:
        return ""
    words = {True: "✓ as predicted", False: "✗ not as predicted", None: "cannot be judged"}
    rows = "".join(
        f"<tr><td>{escape(p.what)}</td><td>{escape(p.predicted)}</td>"
        f"<td>{escape(p.happened)}</td><td>{words[p.kept]}</td></tr>"
        for p in report.predictions
    )
    head = "<tr><th></th><th>the plan said</th><th>what happened</th><th></th></tr>"
    return f"<h2>Predicted and happened</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _list(title: str, items: Iterable[str]) -> str:
    listed = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<h2>{title}</h2><ul>{listed}</ul>" if listed else ""


def _commands(commands: Sequence[str]) -> str:
    return f"<h2>Commands</h2><pre>{escape(chr(10).join(commands))}</pre>" if commands else ""
