"""Evidence that a way out was rehearsed: what ran, in which versions, where, and how it came out. Form version 1.

A record is a ConfigMap beside the records of runs in the cluster of the drill, and a file on the machine that drilled:
a plan is made in another cluster than the one that was rehearsed in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from meshguard.journal.records import NAMESPACE
from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.plan import API_VERSION, Plan
from meshguard.ports import Cluster

LABEL = "meshguard.dev/evidence"
KIND = "Evidence"
PASSED, FAILED = "passed", "failed"


@dataclass(frozen=True)
class Hashed:
    """Something that was rehearsed, by its name and the SHA-256 of its source."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Versions:
    """What it was rehearsed with."""

    meshguard: str
    mesh: str
    control_plane: Mapping[str, str]
    """The version of each revision's control plane."""


@dataclass(frozen=True)
class Evidence:
    """One drill."""

    name: str
    at: str
    """When it ended, RFC 3339 in UTC."""
    runbook: Hashed
    playbooks: tuple[Hashed, ...]
    versions: Versions
    cluster_uid: str
    context: str
    scope: tuple[str, ...]
    """Namespaces."""
    result: str
    """`passed`, or `failed`."""
    sentence: str
    person: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each step, by its title."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """The head of the journal of each run that it made."""

    def document(self) -> dict[str, Any]:
        """The public JSON form."""
        return {"apiVersion": API_VERSION, "kind": KIND, **asdict(self)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Evidence:
        """Read a document back. Raises KeyError, TypeError or ValueError for one that is none of version 1."""
        if (document["apiVersion"], document["kind"]) != (API_VERSION, KIND):
            raise ValueError(f"not {KIND} of {API_VERSION}")
        body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
        body["runbook"] = Hashed(**body["runbook"])
        body["playbooks"] = tuple(Hashed(**playbook) for playbook in body["playbooks"])
        body["versions"] = Versions(**body["versions"])
        return cls(**{**body, "scope": tuple(body["scope"])})


def why_not(evidence: Evidence, plan: Plan, playbook: Hashed, control_plane: Mapping[str, str]) -> str:
    """Say why a drill is no rehearsal of a plan; "" when it is one.

    It is one when it passed, with the very playbook that the plan would run, on a mesh of the same kind and version.
    """
    if evidence.result != PASSED:
        return "it did not pass"
    if playbook not in evidence.playbooks:
        rehearsed = {known.name for known in evidence.playbooks}
        changed = playbook.name in rehearsed
        return f"the playbook {playbook.name} has changed since" if changed else f"it did not run {playbook.name}"
    if evidence.versions.mesh != plan.mesh:
        return f"it was on {evidence.versions.mesh}"
    unknown = sorted(set(control_plane.values()) - set(evidence.versions.control_plane.values()))
    return f"version {unknown[0]} of the control plane was not rehearsed" if unknown else ""


def told(found: Iterable[Evidence], plan: Plan, playbook: Hashed, control_plane: Mapping[str, str]) -> str:
    """Say in one sentence whether a plan was rehearsed: the newest drill that fits, or that there is none."""
    newest_first = sorted(found, key=lambda evidence: evidence.at, reverse=True)
    for evidence in newest_first:
        if not why_not(evidence, plan, playbook, control_plane):
            took = sum(evidence.figures.values())
            when = evidence.at[:16].replace("T", " ")
            how = f"with the runbook {evidence.runbook.name}: passed in {took:.0f} s ({evidence.name})"
            return f"{when} UTC in {evidence.context} by {evidence.person}, {how}"
    if not newest_first:
        return "never rehearsed"
    last = newest_first[0]
    return f"never rehearsed like this; the last drill ({last.name}): {why_not(last, plan, playbook, control_plane)}"


async def record(cluster: Cluster, folder: Path, evidence: Evidence) -> None:
    """Keep evidence in the cluster and on this machine. Raises ClusterError, OSError."""
    text = json.dumps(evidence.document(), indent=1)
    await cluster.put_config_map(Ref("ConfigMap", NAMESPACE, evidence.name), {"evidence": text}, {LABEL: "v1"})
    _keep(folder, evidence.name, text)


def _keep(folder: Path, name: str, text: str) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder / f".{name}"
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder / f"{name}.json")


def known(resources: Iterable[Resource], folder: Path) -> tuple[Evidence, ...]:
    """Return all evidence among ConfigMaps and in a folder, each drill once; what cannot be read proves nothing."""
    texts = [
        str(dig(resource.doc, "data", "evidence", default=""))
        for resource in resources
        if resource.ref.namespace == NAMESPACE and LABEL in resource.labels
    ]
    texts += [path.read_text() for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    return tuple({evidence.name: evidence for evidence in _readable(texts)}.values())


def _readable(texts: Sequence[str]) -> Iterable[Evidence]:
    for text in texts:
        try:
            yield Evidence.of(json.loads(text))
        except (KeyError, TypeError, ValueError):
            continue
