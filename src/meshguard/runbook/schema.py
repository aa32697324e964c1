"""The form of a runbook file, version 1. `json_schema()` is published beside it for editors and CI."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, StringConstraints, model_validator

from meshguard.hypotheses.catalogue import CATALOGUE
from meshguard.hypotheses.schema import Comparison
from meshguard.model.suggestions import hint

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Figure(StrEnum):
    """Which figure of a signal's samples is compared."""

    MAX = "max"
    MIN = "min"
    SUM = "sum"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Symptom(_Part):
    """What is seen when the mesh fails this way; all symptoms of a runbook together name the failure."""

    sentence: Sentence = Field(description="For a person: `a sidecar was killed for memory`.")
    signal: str = Field(description="A name of the catalogue of signals.")
    args: dict[str, Any] = Field(default_factory=dict)
    figure: Figure = Figure.MAX
    comparison: Comparison
    threshold: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _fits_the_catalogue(self) -> Symptom:
        signal = CATALOGUE.get(self.signal)
        if signal is None:
            raise ValueError(f"there is no signal {self.signal!r}{hint(self.signal, CATALOGUE)}")
        for name in self.args:
            if signal.arg(name) is None:
                known = [arg.name for arg in signal.args]
                raise ValueError(f"signal {self.signal} has no argument {name!r}{hint(name, known)}")
        return self

    @property
    def all_args(self) -> Mapping[str, Any]:
        """The arguments, defaults included."""
        return CATALOGUE[self.signal].complete(self.args)


class Check(_Part):
    """Look, and go on only if it is so."""

    do: Literal["check"]
    title: Sentence
    symptom: Symptom


class Decide(_Part):
    """A person decides; the answer `stop` ends the runbook there."""

    do: Literal["decide"]
    title: Sentence
    question: Sentence
    answers: tuple[Sentence, ...] = Field(min_length=2)
    auto: Sentence = Field(description="The answer that a drill without a person takes.")

    @model_validator(mode="after")
    def _auto_is_an_answer(self) -> Decide:
        if self.auto not in self.answers:
            raise ValueError(f"auto {self.auto!r} is none of the answers")
        return self


class Playbook(_Part):
    """Let the engine do it; the plan is printed and consented to as always."""

    do: Literal["playbook"]
    title: Sentence
    playbook: Literal["exit", "restore", "realign"]
    accept: tuple[Sentence, ...] = Field(default=(), description="Consents, as the options write them.")
    to_revision: str = Field(default="", alias="toRevision")


class Wait(_Part):
    """Wait until it is so, at most so long."""

    do: Literal["wait"]
    title: Sentence
    until: Symptom
    at_most: PositiveFloat = Field(alias="atMostSeconds", le=3600)


class Confirm(_Part):
    """Something that meshguard cannot do or see; a person does it and says so."""

    do: Literal["confirm"]
    title: Sentence
    instruction: Sentence


Step = Annotated[Check | Decide | Playbook | Wait | Confirm, Field(discriminator="do")]


class Runbook(_Part):
    """One way in which a mesh fails, and what to do about it."""

    api_version: Literal["meshguard.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["Runbook"]
    name: Name
    title: Sentence
    summary: Sentence
    experiment: Name = Field(description="The experiment that rehearses it.")
    who: tuple[Sentence, ...] = Field(min_length=1, description="Who may carry it out.")
    minutes: PositiveFloat = Field(description="Expected duration.")
    symptoms: tuple[Symptom, ...] = Field(min_length=1)
    not_now: tuple[Sentence, ...] = Field(alias="notNow", min_length=1, description="What makes it worse.")
    steps: tuple[Step, ...] = Field(min_length=1)
    verification: Name = Field(description="The hypothesis that must be healthy at the end.")
    way_back: tuple[Step, ...] = Field(alias="wayBack", min_length=1)

    @model_validator(mode="after")
    def _titles_are_unique(self) -> Runbook:
        titles = [step.title for step in (*self.steps, *self.way_back)]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice:
            raise ValueError(f"two steps are titled {twice!r}")
        return self

    def document(self) -> dict[str, Any]:
        """The runbook as it would stand in a file."""
        return self.model_dump(mode="json", by_alias=True)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a runbook file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://meshguard.dev/schemas/runbook-v1.json",
        **Runbook.model_json_schema(by_alias=True),
    }
