"""The form of a scenario file, version 1: a fleet, its load, and what a lost order costs."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, StringConstraints, ValidationError
from pydantic import model_validator as validated

from meshguard.documents import first_mistake
from meshguard.model.suggestions import hint

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class ScenarioError(Exception):
    """A scenario cannot be used; the message is one sentence for a person."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class FleetSize(_Part):
    """How much there is of everything."""

    services: PositiveInt = Field(le=3000)
    replicas: PositiveInt = Field(le=100, description="Pods of each service, each with a sidecar.")
    nodes: PositiveInt = Field(le=5000)
    namespaces: PositiveInt = Field(le=100)
    node_memory_gib: PositiveFloat = Field(alias="nodeMemoryGiB", le=4096)
    node_cores: PositiveFloat = Field(alias="nodeCores", le=512)
    stands_for: PositiveFloat = Field(
        default=1.0,
        alias="standsFor",
        description="A cut of a larger fleet: each service and proxy costs the control plane what so many would.",
    )

    @property
    def pods(self) -> int:
        """All of them."""
        return self.services * self.replicas


class Load(_Part):
    """The load over time, as a multiple of an ordinary day's."""

    rps_per_pod: PositiveFloat = Field(alias="rpsPerPod", description="Through each sidecar at 1x, in and out.")
    peak: PositiveFloat = Field(le=1000)
    ends_minutes: PositiveFloat = Field(
        alias="endsMinutes", description="The peak is over; within ten minutes it is 1x."
    )


class ControlPlane(_Part):
    """istiod."""

    replicas: PositiveInt = Field(le=100)
    cores: PositiveFloat = Field(le=512, description="Of each replica.")
    push_throttle: int = Field(
        default=0, alias="pushThrottle", ge=0, le=10000, description="0 for Istio's own formula."
    )
    minor: PositiveInt = Field(default=24, description="Istio 1.MINOR.")


class Sidecars(_Part):
    """The proxies."""

    request_mib: PositiveFloat = Field(alias="requestMiB")
    limit_mib: float = Field(default=0.0, alias="limitMiB", ge=0, description="0 for none, as in the story.")
    minor: PositiveInt = Field(default=24)


class Money(_Part):
    """What the shop earns."""

    orders_per_second: PositiveFloat = Field(alias="ordersPerSecond", description="At 1x.")
    order_value: PositiveFloat = Field(alias="orderValue", description="Dollars.")
    patience_s: PositiveFloat = Field(alias="patienceSeconds", description="Until so long nobody leaves.")
    leave_per_second: float = Field(
        alias="leavePerSecond", ge=0, le=1, description="So many more leave with every further second of P99."
    )


class Calibrated(_Part):
    """The four free parameters. They were fitted to the historic timeline, and are called so."""

    app_mib: PositiveFloat = Field(alias="appMiB", description="Memory of an application's container, the mean.")
    app_spread: float = Field(alias="appSpread", ge=0, le=1, description="How much nodes differ in it.")
    ramp_minutes: PositiveFloat = Field(alias="rampMinutes", le=600, description="The load's, from 1x to the peak.")
    push_core_s: PositiveFloat = Field(alias="pushCoreSeconds", description="CPU that a full push costs a proxy.")


class Historic(_Part):
    """What the story's own team did, and what it cost. Minutes after the beginning."""

    noticed: float
    decided: float
    out: float
    lost: float = Field(description="Dollars.")


class Scenario(_Part):
    """One way for a day to go wrong."""

    api_version: Literal["meshguard.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["Scenario"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    title: Sentence
    summary: Sentence
    begins: Clock
    minutes: PositiveFloat = Field(le=1440)
    mtls: Literal["STRICT", "PERMISSIVE"]
    fleet: FleetSize
    cut: PositiveInt = Field(default=10, description="`sim up` shows the fleet at 1 to this.")
    load: Load
    control_plane: ControlPlane = Field(alias="controlPlane")
    sidecars: Sidecars
    money: Money
    calibrated: Calibrated
    historic: Historic | None = None

    @validated(mode="after")
    def _possible(self) -> Scenario:
        room = self.fleet.nodes * self.fleet.node_memory_gib * 1024
        needed = self.fleet.pods * self.calibrated.app_mib
        if needed > room:
            raise ValueError(f"the applications alone need {needed:.0f} MiB and the nodes have {room:.0f} MiB")
        return self

    def load_at(self, seconds: float) -> float:
        """The load at a time, as a multiple of an ordinary day's: a linear rise, a plateau, a fall."""
        up = min(1.0, max(0.0, seconds / (self.calibrated.ramp_minutes * 60)))
        down = min(1.0, max(0.0, (seconds - self.load.ends_minutes * 60) / 600))
        return 1.0 + (self.load.peak - 1.0) * up * (1.0 - down)

    def with_(self, **parts: Any) -> Scenario:
        """The scenario with other values; `fleet={"nodes": 3}` changes one of them. Raises ScenarioError."""
        document = self.model_dump(mode="json", by_alias=True)
        for name, values in parts.items():
            document[name] = {**document[name], **values} if isinstance(values, dict) else values
        return parse(document, self.name)

    def reduced(self) -> Scenario:
        """The cut that is shown as objects: a part of the services and nodes, as dense as the whole."""
        cut = self.cut
        fleet = {
            "services": max(1, self.fleet.services // cut),
            "nodes": max(1, self.fleet.nodes // cut),
            "standsFor": float(cut),
        }
        return self.with_(fleet=fleet)


def parse(document: Any, title: str) -> Scenario:
    """Read a scenario. Raises ScenarioError with the first mistake."""
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        raise ScenarioError(f"{title}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    if problem["type"] == "extra_forbidden":
        place = ".".join(str(part) for part in problem["loc"])
        return f"there is no key {place}{hint(str(problem['loc'][-1]), _keys(problem['loc'][:-1]))}"
    return first_mistake(error)


def _keys(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Scenario
    for part in place:
        field = next(f for name, f in model.model_fields.items() if part in (name, f.alias))
        kinds = getattr(field.annotation, "__args__", (field.annotation,))
        model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return [f.alias or name for name, f in model.model_fields.items()]


def builtin_names() -> list[str]:
    """The scenarios that come with meshguard."""
    return sorted(
        Path(str(f)).stem for f in files("meshguard.sim").joinpath("scenarios").iterdir() if str(f).endswith(".yaml")
    )


def load(file_or_name: str) -> Scenario:
    """Read a scenario, ours by its name, or a file. Raises ScenarioError."""
    if file_or_name in builtin_names():
        text = files("meshguard.sim").joinpath(f"scenarios/{file_or_name}.yaml").read_text()
    else:
        try:
            text = Path(file_or_name).read_text()
        except OSError as error:
            known = builtin_names()
            raise ScenarioError(
                f"there is no scenario {file_or_name!r}{hint(file_or_name, known)} and no such file; "
                f"ours: {', '.join(known)}"
            ) from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{file_or_name} is not YAML: {str(error).splitlines()[0]}") from error
    return parse(document, file_or_name)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://meshguard.dev/schemas/scenario-v1.json",
        **Scenario.model_json_schema(by_alias=True),
    }
