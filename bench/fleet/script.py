"""The script that somebody writes who has no meshguard: kubectl, namespace after namespace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.fleet.writes import Stage, merge_patch
from testbed import binaries


def command(stages: Sequence[Stage], folder: Path) -> list[str]:
    """Write the script for the objects of a plan and return the command that runs it.

    Policies are patched one by one; the labels and the restarts are one call for each namespace.
    """
    kubectl = binaries.KUBECTL.folder / "kubectl"
    lines = ["#!/bin/sh", "set -e"]
    restarted: dict[str, list[str]] = {}
    for step in (step for stage in stages for step in stage.steps):
        target = step.target
        if target.kind == "Namespace":
            lines.append(f"{kubectl} label namespace {target.name} --overwrite istio-injection=disabled")
        elif step.restarts:
            restarted.setdefault(target.namespace, []).append(f"{target.kind.lower()}/{target.name}")
        elif step.manifest is None:
            patch = json.dumps(merge_patch(step))
            lines.append(f"{kubectl} -n {target.namespace} patch {target.kind} {target.name} --type=merge -p '{patch}'")
        else:
            lines.append(f"{kubectl} create -f - <<'END'\n{json.dumps(step.manifest)}\nEND")
    for namespace, members in restarted.items():
        lines.append(f"{kubectl} -n {namespace} rollout restart {' '.join(members)}")
    script = folder / "exit.sh"
    script.write_text("\n".join(lines) + "\n")
    return ["sh", str(script)]
