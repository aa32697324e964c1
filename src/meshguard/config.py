"""The configuration: one validated `meshguard.yaml`, and for each value where it came from."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

FILE_NAME = "meshguard.yaml"


class ConfigError(Exception):
    """The configuration cannot be used; the message is one sentence for a person."""


class Config(BaseModel):
    """Everything that may be set in `meshguard.yaml`; the names in the file are in camel case."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    protected_namespaces: tuple[str, ...] = Field(
        default=("kube-system", "kube-public", "kube-node-lease", "istio-system", "meshguard-system"),
        alias="protectedNamespaces",
        description="Namespaces that are never taken out of a mesh.",
    )
    client_first_ports: tuple[str, ...] = Field(
        default=(),
        alias="clientFirstPorts",
        description="Plain TCP ports, as NS/WORKLOAD:PORT, whose clients are known to speak first.",
    )
    max_namespaces: PositiveInt = Field(
        default=20, alias="maxNamespaces", description="The cap on namespaces in one run."
    )
    max_workloads: PositiveInt = Field(
        default=500, alias="maxWorkloads", description="The cap on workloads in one run; --cap replaces it."
    )
    max_share_percent: PositiveFloat = Field(
        default=50.0,
        alias="maxSharePercent",
        description="The cap on the share of the mesh's workloads in one run; --cap replaces it.",
    )
    share_counts_from: PositiveInt = Field(
        default=25,
        alias="shareCountsFrom",
        description="Up to this many workloads may leave whatever their share is: shares of small meshes mean little.",
    )
    exclusions: dict[str, str] = Field(
        default={},
        description="Namespaces (NS) and workloads (NS/NAME) that stay whatever the scope, each with its reason.",
    )
    order: Literal["together", "clients-first", "servers-first"] = Field(
        default="together", description="In which order the workloads of a scope are restarted on the way out."
    )
    wave_size: PositiveInt = Field(default=50, alias="waveSize", description="Workloads restarted at once.")
    rollout_deadline: PositiveFloat = Field(
        default=300.0,
        alias="rolloutDeadlineSeconds",
        description="How long the workloads of a wave may take to restart.",
    )
    converge_deadline: PositiveFloat = Field(
        default=60.0, alias="convergeDeadlineSeconds", description="How long the proxies may take to have a change."
    )
    prometheus_url: str = Field(
        default="", alias="prometheusUrl", description="Where Prometheus answers, for probes that query it."
    )
    prometheus_service: str = Field(
        default="",
        alias="prometheusService",
        pattern=r"^([a-z0-9-]+/[a-z0-9-]+:[a-z0-9-]+)?$",
        description="The same as NS/SERVICE:PORT, reached through the API server; used where there is no URL.",
    )
    observed_window: PositiveFloat = Field(
        default=86_400.0,
        alias="observedWindowSeconds",
        description="How far back --callers-from observed looks in Prometheus.",
    )
    journal_dir: str = Field(
        default="",
        alias="journalDirectory",
        description="Where runs are recorded; empty for $XDG_STATE_HOME/meshguard/runs.",
    )


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration and the file it came from, with the keys that the file set."""

    config: Config
    path: Path | None
    set_in_file: frozenset[str]

    def origins(self) -> list[tuple[str, Any, str]]:
        """For each key: name in the file, value, and `default` or the file's path."""
        rows = []
        for name, info in Config.model_fields.items():
            key = info.alias or name
            origin = str(self.path) if key in self.set_in_file else "default"
            rows.append((key, getattr(self.config, name), origin))
        return rows


def load(explicit: Path | None = None) -> LoadedConfig:
    """Read the configuration from `explicit`, `./` or `~/.config/meshguard/`; defaults where there is no file.

    Raises ConfigError for a file that is missing though named, is not YAML, or has a key or value that is not known.
    """
    path = explicit or _found()
    if path is None:
        return LoadedConfig(Config(), None, frozenset())
    try:
        data = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping of settings")
    try:
        return LoadedConfig(Config.model_validate(data), path, frozenset(data))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error)}") from error


def _found() -> Path | None:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = (Path(FILE_NAME), home / "meshguard" / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [info.alias or name for name, info in Config.model_fields.items()]
        near = difflib.get_close_matches(where, known, n=1)
        return f"unknown setting {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    return f"{where}: {problem['msg']}"
