"""A plan: what will be done, in which order, what is awaited, and how each step is undone. It has a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from meshguard.model.change import Change
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref

API_VERSION = "meshguard.dev/v1"
RUN_PLACEHOLDER = "${RUN}"
"""Stands for the run's name in values; a plan exists before the run that executes it."""


class Direction(StrEnum):
    """Which way a plan goes."""

    EXIT = "exit"
    RESTORE = "restore"
    REJOIN = "rejoin"
    """A restore in waves, days later."""
    REALIGN = "realign"
    FAULT = "fault"
    """Breaks something on purpose, in a rehearsal; its way back is a restore like any other."""

    @property
    def undoes(self) -> bool:
        """A plan of this direction gives back what another run has changed."""
        return self in (Direction.RESTORE, Direction.REJOIN)

    @property
    def holds(self) -> bool:
        """A finished plan of this direction has left something that a restore must give back."""
        return self in (Direction.EXIT, Direction.FAULT)


class Action(StrEnum):
    """What a step does to its object."""

    CHANGE = "change"
    CREATE = "create"
    DELETE = "delete"
    HOLD = "hold"
    """Somebody else's open run has made the change already; this run needs it too, until its own restore."""
    RENEW = "renew"
    """Delete one pod, so that its controller makes a new one. There is nothing to undo, but a way back renews too."""
    RELEASE = "release"
    """This run needs the change no longer, but another open run does: it stays."""


class Check(StrEnum):
    """What can be awaited. Each has one judge in the mesh that the plan is for."""

    INJECTION = "injection"
    """The next pods of the workloads, created by dry run, come out with (or without) a proxy."""
    INBOUND = "inbound"
    """The servers' proxies accept plaintext (or refuse it) on their ports."""
    OUTBOUND = "outbound"
    """The clients' proxies decide TLS endpoint by endpoint (or always use it) for the hosts."""
    AUTHZ = "authz"
    """The servers' proxies enforce the policy as it is now in the cluster."""
    ROLLED_OUT = "rolled-out"
    """Every old pod of the workload is gone and the new ones are ready."""
    MEMBERSHIP = "membership"
    """The pods of the workload carry (or do not carry) a proxy, seen on the pods."""
    ENDPOINTS = "endpoints"
    """The clients' proxies know exactly the service's present pods, each with the right TLS mark."""
    TRAFFIC = "traffic"
    """Proxies that call the hosts see no connect failures and no resets over a while."""
    IDENTICAL = "identical"
    """The object equals what the run's snapshot recorded."""
    HYPOTHESIS = "hypothesis"
    """The hypothesis is healthy: every probe of it was answered, and holds."""


@dataclass(frozen=True)
class Await:
    """A condition that must be seen before the plan goes on."""

    check: Check
    sentence: str
    """For a person: `the proxies in shop-pay accept plaintext`."""
    subject: tuple[str, ...]
    """Namespaces, hosts, or object references, as the check reads them."""
    expect: Mapping[str, Any] = field(default_factory=dict)
    deadline_s: float = 120.0
    undoes: tuple[str, ...] = ()
    """Objects that go back to what they were before the run when this is not seen."""

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "check": self.check.value,
            "sentence": self.sentence,
            "subject": list(self.subject),
            "expect": dict(self.expect),
            "deadlineSeconds": self.deadline_s,
            **({"undoes": list(self.undoes)} if self.undoes else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Await:
        """Read back `to_json`. Raises KeyError or ValueError for what is not an await."""
        return cls(
            Check(data["check"]),
            data["sentence"],
            tuple(data["subject"]),
            dict(data["expect"]),
            float(data["deadlineSeconds"]),
            tuple(data.get("undoes", ())),
        )


@dataclass(frozen=True)
class Step:
    """One write to one object, with the sentence that explains it and everything needed to undo it."""

    id: str
    action: Action
    target: Ref
    uid: str
    """The identity of the object that the plan was made for; "" when the step creates it."""
    sentence: str
    why: str
    changes: tuple[Change, ...] = ()
    manifest: Mapping[str, Any] | None = None
    """The object to create (or, when it deletes, what is expected to be there)."""
    restarts: bool = False
    """The change makes the controller replace the workload's pods."""

    def inverse(self) -> Step:
        """The step that undoes this one and expects to find what this one left."""
        flipped = {
            Action.CHANGE: Action.CHANGE,
            Action.CREATE: Action.DELETE,
            Action.DELETE: Action.CREATE,
            Action.RENEW: Action.RENEW,
            Action.HOLD: Action.RELEASE,
            Action.RELEASE: Action.HOLD,
        }
        return replace(self, action=flipped[self.action], changes=tuple(c.inverse() for c in reversed(self.changes)))

    def for_run(self, run: str) -> Step:
        """The step with the run's name in place of RUN_PLACEHOLDER, in values and in the manifest."""
        return replace(
            self,
            changes=tuple(Change(c.path, _named(c.before, run), _named(c.after, run)) for c in self.changes),
            manifest=_named(self.manifest, run),
        )

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        out: dict[str, Any] = {
            "id": self.id,
            "action": self.action.value,
            "object": str(self.target),
            "uid": self.uid,
            "sentence": self.sentence,
            "why": self.why,
            "changes": [c.to_json() for c in self.changes],
            "restarts": self.restarts,
        }
        if self.manifest is not None:
            out["manifest"] = self.manifest
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Read back `to_json`. Raises KeyError or ValueError for what is not a step."""
        return cls(
            data["id"],
            Action(data["action"]),
            Ref.parse(data["object"]),
            data["uid"],
            data["sentence"],
            data["why"],
            tuple(Change.from_json(c) for c in data["changes"]),
            data.get("manifest"),
            bool(data["restarts"]),
        )


@dataclass(frozen=True)
class Wave:
    """Steps that may run at the same time, and what must be seen before the next wave begins."""

    steps: tuple[Step, ...]
    awaits: tuple[Await, ...] = ()


@dataclass(frozen=True)
class Phase:
    """A named part of a plan; one task of the playbook."""

    name: str
    title: str
    waves: tuple[Wave, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps of all waves, in order."""
        return tuple(step for wave in self.waves for step in wave.steps)

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "name": self.name,
            "title": self.title,
            "waves": [
                {"steps": [s.to_json() for s in w.steps], "awaits": [a.to_json() for a in w.awaits]} for w in self.waves
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Phase:
        """Read back `to_json`."""
        return cls(
            data["name"],
            data["title"],
            tuple(
                Wave(
                    tuple(Step.from_json(s) for s in w["steps"]),
                    tuple(Await.from_json(a) for a in w["awaits"]),
                )
                for w in data["waves"]
            ),
        )


@dataclass(frozen=True)
class Plan:
    """A value that can be printed, compared, stored, approved and executed; nothing is decided afterwards.

    The hash covers what will be done (direction, cluster, scope, phases, consents), not what was said about it.
    """

    direction: Direction
    mesh: str
    cluster_uid: str
    context: str
    namespaces: tuple[str, ...]
    phases: tuple[Phase, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What a person must know before consenting: what is lost, who accepts plaintext until when."""
    consents: tuple[str, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Objects of the scope that the plan leaves alone, each with its reason."""
    of_run: str = ""
    """The run that a restore undoes."""
    scope: tuple[str, ...] = ()
    """What narrows the namespaces down or adds to them, in the words of the options."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps of all phases, in order."""
        return tuple(step for phase in self.phases for step in phase.steps)

    @property
    def writes(self) -> tuple[Step, ...]:
        """The steps that write to an object of somebody else."""
        return tuple(s for s in self.steps if s.action not in (Action.HOLD, Action.RELEASE))

    @property
    def blockers(self) -> tuple[Finding, ...]:
        """Findings that forbid the plan."""
        return tuple(f for f in self.findings if f.blocks)

    def phase(self, name: str) -> Phase:
        """Return the phase of that name. Raises KeyError when the plan has none."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise KeyError(name)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON of what will be done."""
        body = {k: v for k, v in self.to_json().items() if k not in ("hash", "findings", "notes")}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The public JSON form, hash included by `document`."""
        return {
            "apiVersion": API_VERSION,
            "kind": "Plan",
            "direction": self.direction.value,
            "mesh": self.mesh,
            "cluster": {"uid": self.cluster_uid, "context": self.context},
            "namespaces": list(self.namespaces),
            "ofRun": self.of_run,
            **({"scope": list(self.scope)} if self.scope else {}),
            "consents": list(self.consents),
            "excluded": dict(self.excluded),
            "phases": [p.to_json() for p in self.phases],
            "findings": [f.to_json() for f in self.findings],
            "notes": list(self.notes),
        }

    def document(self) -> dict[str, Any]:
        """What is written to a file: the plan and its hash."""
        return {**self.to_json(), "hash": self.hash}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read back `to_json` or `document`.

        Raises KeyError or ValueError for what is not a plan, ValueError for one that does not fit its own hash.
        """
        plan = cls(
            Direction(data["direction"]),
            data["mesh"],
            data["cluster"]["uid"],
            data["cluster"]["context"],
            tuple(data["namespaces"]),
            tuple(Phase.from_json(p) for p in data["phases"]),
            tuple(Finding.from_json(f) for f in data["findings"]),
            tuple(data["notes"]),
            tuple(data["consents"]),
            dict(data["excluded"]),
            data["ofRun"],
            tuple(data.get("scope", ())),
        )
        if data.get("hash", plan.hash) != plan.hash:
            raise ValueError("the plan does not fit its own hash: it was changed after it was made")
        return plan


def _named(value: Any, run: str) -> Any:
    if isinstance(value, str):
        return value.replace(RUN_PLACEHOLDER, run)
    if isinstance(value, Mapping):
        return {key: _named(inner, run) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_named(inner, run) for inner in value]
    return value
