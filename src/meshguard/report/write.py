"""Writes a report in its forms into a folder."""

from __future__ import annotations

import json
from pathlib import Path

from meshguard.report.document import Report
from meshguard.report.html import page
from meshguard.report.markdown import text


class ReportError(Exception):
    """A report cannot be written; the message is one sentence."""


def write(report: Report, path: Path) -> Path:
    """Write `path` (HTML), and Markdown and JSON beside it; return the path. Raises ReportError."""
    document = {"apiVersion": "meshguard.dev/v1", "kind": "Report", **report.to_json()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(report), encoding="utf-8")
        path.with_suffix(".md").write_text(text(report), encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ReportError(f"the report cannot be written to {path.parent}: {error.strerror}") from error
    return path
