"""Writes that a phase will make, before they are numbered as steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.model.change import Change
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref


@dataclass(frozen=True)
class Edit:
    """A write that a phase will make, not numbered yet."""

    target: Ref
    uid: str
    sentence: str
    why: str
    changes: tuple[Change, ...] = ()
    manifest: Mapping[str, Any] | None = None


def manifest_of(ref: Ref, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that a creation makes."""
    return {
        "apiVersion": KINDS[ref.kind].api_version,
        "kind": ref.kind,
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": dict(spec),
    }
