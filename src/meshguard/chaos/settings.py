"""What an experiment's configuration says of the cluster, and which experiment this process is running."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshguard import config
from meshguard.app import Target

#: The keys of an experiment's `configuration` that are ours.
CONTEXT, KUBECONFIG, CONFIG = "meshguard_context", "meshguard_kubeconfig", "meshguard_config"

EXPERIMENT = "experiment: "
"""The reason of every run of an experiment begins with it; `chaos undo` knows them by it."""

_VERSION = "v1"


class SettingsError(Exception):
    """The experiment's configuration cannot be used; the message is one sentence for a person."""


class _Running:
    """The experiment that this process runs; Chaos Toolkit runs one."""

    title = ""


RUNNING = _Running()


def target_of(configuration: Mapping[str, Any] | None) -> Target:
    """Return the cluster that an experiment names. Raises SettingsError, config.ConfigError."""
    given = configuration or {}
    if not given.get(CONTEXT):
        raise SettingsError(f"the experiment's configuration must name the cluster: {CONTEXT}")
    chosen = given.get(CONFIG)
    loaded = config.load(Path(chosen) if chosen else None)
    return Target(str(given[CONTEXT]), given.get(KUBECONFIG) or None, config=loaded.config)


def config_file(configuration: Mapping[str, Any] | None) -> Path | None:
    """Return the meshguard.yaml that an experiment names."""
    chosen = (configuration or {}).get(CONFIG)
    return Path(chosen) if chosen else None


def reason_for(activity: str) -> str:
    """Say why a run is made: which experiment does what."""
    return f"{EXPERIMENT}{RUNNING.title or 'single action'}: {activity}"


def check_version(experiment: Mapping[str, Any]) -> None:
    """Refuse an experiment that was written for another version of this extension. Raises SettingsError."""
    for extension in experiment.get("extensions") or ():
        if extension.get("name") == "meshguard" and extension.get("version") != _VERSION:
            raise SettingsError(
                f"the experiment is for version {extension.get('version')!r} of the extension, this one is {_VERSION!r}"
            )
