"""Documents that people write for meshguard: files in YAML or JSON, or those that come with it, by name.

What is wrong with one is said in one sentence for a person, as the error of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

_SUFFIXES = (".yaml", ".yml", ".json")
_Model = TypeVar("_Model", bound=BaseModel)


def is_file_name(file_or_name: str) -> bool:
    """Tell whether a file is meant (`x.yaml`, `./x`), and not one of ours by its name."""
    return "/" in file_or_name or file_or_name.endswith(_SUFFIXES)


def first_mistake(error: ValidationError) -> str:
    """Say where and what is wrong first."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


@dataclass(frozen=True)
class Form(Generic[_Model]):
    """One kind of document. Whatever is wrong is raised as `error`."""

    kind: str
    """As a person calls it."""
    model: type[_Model]
    ours: Traversable
    """The folder of those that come with meshguard."""
    error: type[Exception]

    def our_names(self) -> tuple[str, ...]:
        """The names of those that come with meshguard."""
        return tuple(sorted(e.name.removesuffix(".yaml") for e in self.ours.iterdir() if e.name.endswith(".yaml")))

    def our_text(self, name: str) -> str:
        """The source of one that comes with meshguard."""
        return (self.ours / f"{name}.yaml").read_text()

    def text_of(self, file: str | Path) -> str:
        """The source that a file holds."""
        try:
            return Path(file).read_text()
        except OSError as error:
            raise self.error(f"cannot read {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise self.error(f"{file} is not text") from error

    def parse(self, text: str, origin: str) -> _Model:
        """Read a document from its source; `origin` names it in errors."""
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise self.error(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(document, dict):
            raise self.error(f"{origin} must hold one {self.kind}, a mapping")
        return self.of_document(document, origin)

    def of_document(self, document: Mapping[str, Any], origin: str) -> _Model:
        """Read a document that is a mapping already."""
        try:
            return self.model.model_validate(document)
        except ValidationError as error:
            raise self.error(f"{origin}: {first_mistake(error)}") from error
