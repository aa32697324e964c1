"""The nightly experiment is fired by the real CronJob controller, from an image that no Docker has built.

    python -m testbed.proofs.schedule

The manifests of `deploy/schedule` are applied as they are; only image, hour and experiment are the testbed's own.
Without a mark the guard refuses, so the Job fails and nothing is written; with one the experiment runs inside the
cluster, with the rights of its ServiceAccount and no others, and is undone. The last line is one JSON object.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed import images
from testbed.api import Testbed
from testbed.errors import TestbedError
from testbed.images import Image
from testbed.node import load_images
from testbed.paths import MAIN, RunPaths
from testbed.proofs import objects, own_cluster
from testbed.proofs.break_glass import CONTEXT, MeshguardCli
from testbed.proofs.chaos_runs import CONCERNED, EXPERIMENTS, declare, marked, settled
from testbed.proofs.record import Proof
from testbed.waiting import wait_until

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "schedule"
NAMESPACE, NAME = "meshguard-system", "meshguard-schedule"
IMAGE = "local/meshguard:dev"
EXPERIMENT = "job-with-sidecar-never-ends"
_FIRED_S, _OVER_S = 130, 420
_CHAOS = "#!/usr/local/bin/python3\nfrom chaostoolkit.__main__ import cli\ncli()\n"
#: What only developers need, or what an experiment never loads.
_LEFT_OUT = frozenset(
    ("test", "idlelib", "ensurepip", "tkinter", "turtledemo", "__pycache__", "mypy", "mypyc", "hypothesis", "pip")
)


@dataclass(frozen=True)
class Fired:
    """A Job that the controller made of the CronJob."""

    name: str
    succeeded: bool
    log: str


def main() -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    testbed = own_cluster.up()
    with Proof("schedule", quick=False) as proof, tempfile.TemporaryDirectory() as scratch:
        meshguard = MeshguardCli(testbed.kubeconfig, Path(scratch) / "state")
        load_images(RunPaths(MAIN), [images.built(meshguard_image(Path(scratch)))])
        settled()
        before = objects.concerned(testbed, CONCERNED)
        try:
            meshguard.call("rehearsal", "revoke", "--context", CONTEXT, "--reason", "proof", "--yes")
            refused = _night(testbed)
            if why := declare(meshguard, "proof of the schedule"):
                raise TestbedError(why)
            ran = _night(testbed)
        finally:
            _taken_away(testbed)
            meshguard.call("rehearsal", "revoke", "--context", CONTEXT, "--reason", "proof", "--yes")
        settled()
        left = [*objects.differences(before, objects.concerned(testbed, CONCERNED)), *marked(testbed)]
        answer = {
            "refused_without_mark": int(not refused.succeeded and "not declared a rehearsal" in refused.log),
            "ran": int(ran.succeeded and '"result": "effective"' in ran.log),
            "leftovers": len(left),
        }
        proof.count("logs", {"refused": refused.log[-3000:], "ran": ran.log[-3000:]})
        proof.say(answer)
    return 0 if answer == {"refused_without_mark": 1, "ran": 1, "leftovers": 0} else 1


def meshguard_image(scratch: Path) -> Image:
    """Return an image of this very interpreter, its packages and meshguard; `scratch` holds what has to be made."""
    base, packages = Path(sys.base_prefix), Path(sysconfig.get_path("purelib"))
    source = Path(__file__).resolve().parents[2] / "src" / "meshguard"
    library = f"lib/python{sysconfig.get_python_version()}"
    chaos = scratch / "chaos"
    chaos.write_text(_CHAOS)
    trees = {library: base / library, f"{library}/site-packages": packages}
    trees[f"{library}/site-packages/meshguard"] = source
    files = {f"/usr/local/{to}/{path}": tree / path for to, tree in trees.items() for path in _files(tree)}
    programs = {
        "/usr/local/bin/python3": (base / "bin" / "python3").resolve(),
        "/usr/local/bin/chaos": chaos,
        "/bin/sh": Path("/usr/bin/dash"),
        "/bin/cat": Path("/usr/bin/cat"),
    }
    experiments = {f"/experiments/{path.name}": path for path in EXPERIMENTS.glob("*.yaml")}
    return Image(
        IMAGE, "/usr/local/bin/python3", {**files, **_native(files.values()), **programs, **experiments}, "10001"
    )


def _native(files: Iterable[Path]) -> dict[str, Path]:
    """Return the system's shared libraries that Python's own modules load."""
    modules = [str(file) for file in files if file.suffix == ".so"]
    listed = subprocess.run(["ldd", *modules], capture_output=True, text=True, check=False).stdout
    return {found: Path(found) for found in re.findall(r"=> (/\S+)", listed) if "/site-packages/" not in found}


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that an experiment may need, relative to it."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not _LEFT_OUT & set(inside.parts) and inside.parts[0] != "site-packages":
            yield inside


def _night(testbed: Testbed) -> Fired:
    """Let the controller fire the CronJob once, and return what came of it."""
    _taken_away(testbed)
    for document in _documents():
        testbed.kubectl("apply", "-f", "-", text=json.dumps(document))

    def names() -> list[str]:
        return testbed.kubectl("-n", NAMESPACE, "get", "jobs", "-o", "name").split()

    wait_until(lambda: bool(names()), _FIRED_S, "the CronJob controller to make a Job", 1.0)
    testbed.kubectl("-n", NAMESPACE, "patch", "cronjob", NAME, "-p", '{"spec":{"suspend":true}}')
    job = names()[0]

    def conditions() -> dict[str, Any]:
        status = json.loads(testbed.kubectl("-n", NAMESPACE, "get", job, "-o", "json")).get("status", {})
        return {c["type"]: c for c in status.get("conditions", []) if c["status"] == "True"}

    wait_until(lambda: bool({"Complete", "Failed"} & conditions().keys()), _OVER_S, f"{job} to end", 1.0)
    log = testbed.kubectl("-n", NAMESPACE, "logs", job, check=False)
    return Fired(job, "Complete" in conditions(), log)


def _documents() -> Iterator[Mapping[str, Any]]:
    """Yield the manifests with what is the testbed's own."""
    for file in ("rbac.yaml", "cronjob.yaml"):
        for document in yaml.safe_load_all((MANIFESTS / file).read_text()):
            if document["kind"] == "CronJob":
                document["spec"]["schedule"] = "* * * * *"
                (container,) = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
                container["image"] = IMAGE
                environment = {variable["name"]: variable for variable in container["env"]}
                environment["EXPERIMENT"]["value"] = f"/experiments/{EXPERIMENT}.yaml"
            yield document


def _taken_away(testbed: Testbed) -> None:
    testbed.kubectl("-n", NAMESPACE, "delete", "cronjob", NAME, "--ignore-not-found", "--cascade=foreground")
    for document in _documents():
        if document["kind"] != "Namespace":
            testbed.kubectl("delete", "--ignore-not-found", "-f", "-", text=json.dumps(document))


if __name__ == "__main__":
    sys.exit(main())
