"""Hypotheses from files, or from those that come with meshguard."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from meshguard.hypotheses.schema import Hypothesis

_SUFFIXES = (".yaml", ".yml", ".json")


class HypothesisError(Exception):
    """The hypothesis cannot be used; the message is one sentence for a person."""


def builtin_names() -> tuple[str, ...]:
    """The names of the hypotheses that come with meshguard."""
    folder = files("meshguard.hypotheses") / "builtin"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load(file_or_name: str) -> Hypothesis:
    """Read a hypothesis: a file when it looks like one (`x.yaml`, `./x`), else one of our own by its name.

    Raises HypothesisError.
    """
    if "/" in file_or_name or file_or_name.endswith(_SUFFIXES):
        return parse(_text(Path(file_or_name)), file_or_name)
    if file_or_name not in builtin_names():
        listed = ", ".join(builtin_names())
        raise HypothesisError(f"there is no hypothesis {file_or_name!r}; ours: {listed}; a file ends in .yaml")
    resource = files("meshguard.hypotheses") / "builtin" / f"{file_or_name}.yaml"
    return parse(resource.read_text(), file_or_name)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise HypothesisError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HypothesisError(f"{path} is not text") from error


def parse(text: str, origin: str) -> Hypothesis:
    """Read a hypothesis from YAML or JSON; `origin` names it in errors. Raises HypothesisError."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise HypothesisError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise HypothesisError(f"{origin} must hold one hypothesis, a mapping")
    return of_document(data, origin)


def of_document(data: dict[str, Any], origin: str) -> Hypothesis:
    """Read a hypothesis from its document. Raises HypothesisError, which says where and what is wrong."""
    try:
        return Hypothesis.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise HypothesisError(f"{origin}: {where}: {message}" if where else f"{origin}: {message}") from error
