"""The form of a hypothesis file, version 1. `json_schema()` is published beside it for editors and CI."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, StringConstraints, model_validator

from meshguard.hypotheses.catalogue import CATALOGUE, Arg, Unit
from meshguard.model.suggestions import hint

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Comparison(StrEnum):
    """How a sample is compared with the threshold."""

    AT_LEAST = "at-least"
    AT_MOST = "at-most"
    EQUALS = "equals"

    def holds(self, value: float, threshold: float) -> bool:
        """Tell whether the value is as it should be; NaN never is."""
        match self:
            case Comparison.AT_LEAST:
                return value >= threshold
            case Comparison.AT_MOST:
                return value <= threshold
            case Comparison.EQUALS:
                return value == threshold


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Probe(_Part):
    """One question with the answer that counts as healthy; every sample of the signal must satisfy it."""

    name: Sentence = Field(description="What is true when the mesh is well, as a sentence: `no proxy was OOMKilled`.")
    signal: str = Field(description="A name of the catalogue of signals.")
    args: dict[str, Any] = Field(default_factory=dict, description="The signal's arguments.")
    comparison: Comparison
    threshold: float = Field(allow_inf_nan=False)
    unit: Unit = Field(description="The threshold's unit; it must be the signal's.")
    why: Sentence = Field(description="Why this threshold and no other.")
    source: Sentence = Field(description="Where the threshold comes from: documentation, an issue, a measurement.")
    deadline: PositiveFloat = Field(
        default=15.0, le=600, description="Seconds, besides the window, after which silence counts as unknown."
    )

    @model_validator(mode="after")
    def _fits_the_catalogue(self) -> Probe:
        signal = CATALOGUE.get(self.signal)
        if signal is None:
            raise ValueError(f"there is no signal {self.signal!r}{hint(self.signal, CATALOGUE)}")
        if self.unit is not signal.unit:
            raise ValueError(f"signal {self.signal} is in {signal.unit.value}, not in {self.unit.value}")
        for name, value in self.args.items():
            arg = signal.arg(name)
            if arg is None:
                known = [a.name for a in signal.args]
                raise ValueError(f"signal {self.signal} has no argument {name!r}{hint(name, known)}")
            _check_value(self.signal, arg, value)
        lacking = [arg.name for arg in signal.args if arg.required and not self.args.get(arg.name)]
        if lacking:
            raise ValueError(f"signal {self.signal} needs the argument {lacking[0]!r}")
        return self

    @property
    def all_args(self) -> dict[str, Any]:
        """The arguments, defaults included."""
        return CATALOGUE[self.signal].complete(self.args)

    @property
    def patience_s(self) -> float:
        """How long to wait for the answer: the deadline, and the window of a signal that has one. Seconds."""
        return self.deadline + float(self.all_args.get("window", 0.0))


class Hypothesis(_Part):
    """What healthy means, as a list of probes that must all hold."""

    api_version: Literal["meshguard.dev/v1"] = Field(alias="apiVersion", default="meshguard.dev/v1")
    kind: Literal["Hypothesis"] = "Hypothesis"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    description: Sentence
    patience: float = Field(
        default=0.0,
        ge=0,
        le=600,
        description="Seconds for which a gate looks again before a breach counts; 0 stops at the first look.",
    )
    probes: tuple[Probe, ...] = Field(min_length=1)

    def document(self) -> dict[str, Any]:
        """The hypothesis as it would stand in a file."""
        return self.model_dump(mode="json", by_alias=True)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Hypothesis:
        names = [probe.name for probe in self.probes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two probes are named {twice!r}")
        return self


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a hypothesis file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://meshguard.dev/schemas/hypothesis-v1.json",
        **Hypothesis.model_json_schema(by_alias=True),
    }


def _check_value(signal: str, arg: Arg, value: Any) -> None:
    expected = {float: (int, float), str: (str,), list: (list, tuple), dict: (dict,)}[type(arg.default)]
    if isinstance(value, bool) or not isinstance(value, expected):
        raise ValueError(f"argument {arg.name!r} of {signal} must be a {_WORDS[type(arg.default)]}, not {value!r}")
    if arg.choices and value not in arg.choices:
        raise ValueError(f"argument {arg.name!r} of {signal} must be one of {', '.join(arg.choices)}, not {value!r}")
    if isinstance(value, int | float) and value < 0:
        raise ValueError(f"argument {arg.name!r} of {signal} must not be negative")


_WORDS = {float: "number", str: "text", list: "list", dict: "mapping"}
