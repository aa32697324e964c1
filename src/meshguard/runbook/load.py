"""Runbooks from files, or from those that come with meshguard."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from meshguard.hypotheses.load import builtin_names as hypotheses
from meshguard.model.suggestions import hint
from meshguard.runbook.schema import Runbook

_SUFFIXES = (".yaml", ".yml", ".json")


class RunbookError(Exception):
    """The runbook cannot be used; the message is one sentence for a person."""


def builtin_names() -> tuple[str, ...]:
    """The names of the runbooks that come with meshguard."""
    folder = files("meshguard") / "runbooks"
    return tuple(sorted(e.name.removesuffix(".yaml") for e in folder.iterdir() if e.name.endswith(".yaml")))


def load(file_or_name: str) -> Runbook:
    """Read a runbook: a file when it looks like one (`x.yaml`, `./x`), else one of ours. Raises RunbookError."""
    return parse(text_of(file_or_name), file_or_name)


def text_of(file_or_name: str) -> str:
    """Return the source of a runbook. Raises RunbookError."""
    if "/" not in file_or_name and not file_or_name.endswith(_SUFFIXES):
        if file_or_name not in builtin_names():
            raise RunbookError(f"there is no runbook {file_or_name!r}{hint(file_or_name, builtin_names())}")
        return (files("meshguard") / "runbooks" / f"{file_or_name}.yaml").read_text()
    try:
        return Path(file_or_name).read_text()
    except OSError as error:
        raise RunbookError(f"cannot read {file_or_name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunbookError(f"{file_or_name} is not text") from error


def parse(text: str, origin: str) -> Runbook:
    """Read a runbook from YAML or JSON; `origin` names it in errors. Raises RunbookError."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RunbookError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RunbookError(f"{origin} must hold one runbook, a mapping")
    try:
        runbook = Runbook.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise RunbookError(f"{origin}: {where}: {message}" if where else f"{origin}: {message}") from error
    if runbook.verification not in hypotheses():
        raise RunbookError(
            f"{origin}: verification: there is no hypothesis {runbook.verification!r}"
            f"{hint(runbook.verification, hypotheses())}"
        )
    return runbook


def digest(text: str) -> str:
    """SHA-256 of a runbook's source: evidence names what was rehearsed."""
    return hashlib.sha256(text.encode()).hexdigest()
