"""Hypotheses from files, or from those that come with meshguard."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from meshguard.documents import Form, is_file_name
from meshguard.hypotheses.schema import Hypothesis


class HypothesisError(Exception):
    """The hypothesis cannot be used; the message is one sentence for a person."""


_FORM = Form("hypothesis", Hypothesis, files("meshguard.hypotheses") / "builtin", HypothesisError)


def builtin_names() -> tuple[str, ...]:
    """The names of the hypotheses that come with meshguard."""
    return _FORM.our_names()


def load(file_or_name: str) -> Hypothesis:
    """Read a hypothesis: a file when it looks like one (`x.yaml`, `./x`), else one of our own by its name.

    Raises HypothesisError.
    """
    if is_file_name(file_or_name):
        return parse(_FORM.text_of(Path(file_or_name)), file_or_name)
    if file_or_name not in builtin_names():
        listed = ", ".join(builtin_names())
        raise HypothesisError(f"there is no hypothesis {file_or_name!r}; ours: {listed}; a file ends in .yaml")
    return parse(_FORM.our_text(file_or_name), file_or_name)


def parse(text: str, origin: str) -> Hypothesis:
    """Read a hypothesis from YAML or JSON; `origin` names it in errors. Raises HypothesisError."""
    return _FORM.parse(text, origin)


def of_document(data: dict[str, Any], origin: str) -> Hypothesis:
    """Read a hypothesis from its document. Raises HypothesisError, which says where and what is wrong."""
    return _FORM.of_document(data, origin)
