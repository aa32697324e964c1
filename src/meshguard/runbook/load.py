"""Runbooks from files, or from those that come with meshguard."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from meshguard.documents import Form, is_file_name
from meshguard.hypotheses.load import builtin_names as hypotheses
from meshguard.model.suggestions import hint
from meshguard.runbook.schema import Runbook


class RunbookError(Exception):
    """The runbook cannot be used; the message is one sentence for a person."""


_FORM = Form("runbook", Runbook, files("meshguard") / "runbooks", RunbookError)


def builtin_names() -> tuple[str, ...]:
    """The names of the runbooks that come with meshguard."""
    return _FORM.our_names()


def load(file_or_name: str) -> Runbook:
    """Read a runbook: a file when it looks like one (`x.yaml`, `./x`), else one of ours. Raises RunbookError."""
    return parse(text_of(file_or_name), file_or_name)


def text_of(file_or_name: str) -> str:
    """Return the source of a runbook. Raises RunbookError."""
    if is_file_name(file_or_name):
        return _FORM.text_of(file_or_name)
    if file_or_name not in builtin_names():
        raise RunbookError(f"there is no runbook {file_or_name!r}{hint(file_or_name, builtin_names())}")
    return _FORM.our_text(file_or_name)


def parse(text: str, origin: str) -> Runbook:
    """Read a runbook from YAML or JSON; `origin` names it in errors. Raises RunbookError."""
    runbook = _FORM.parse(text, origin)
    if runbook.verification not in hypotheses():
        raise RunbookError(
            f"{origin}: verification: there is no hypothesis {runbook.verification!r}"
            f"{hint(runbook.verification, hypotheses())}"
        )
    return runbook


def digest(text: str) -> str:
    """SHA-256 of a runbook's source: evidence names what was rehearsed."""
    return hashlib.sha256(text.encode()).hexdigest()
