"""Runs one of our playbooks through ansible-runner; whoever wants to see progress follows the run's journal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from meshguard.app import Target
from meshguard.engine.stop import StopSignal
from meshguard.journal.rundir import RunDir
from meshguard.model.plan import Direction

#: Our playbooks are quiet, without colours, and run with the interpreter that runs meshguard.
ANSIBLE_SETTINGS = {
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_LOCALHOST_WARNING": "False",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    "ANSIBLE_RETRY_FILES_ENABLED": "False",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
}


def playbook(direction: Direction) -> Path:
    """The playbook for a direction, in the checkout or in the installed package."""
    return Path(str(files("meshguard") / "playbooks" / f"{direction.value}.yml"))


def settings_of(target: Target, config_file: Path | None) -> dict[str, Any]:
    """What the modules need to open the same cluster as the same person."""
    return {
        "kubeconfig": str(Path(target.kubeconfig).resolve()) if target.kubeconfig else "",
        "config": str(config_file.resolve()) if config_file else "",
        "as_user": target.as_user,
        "as_groups": list(target.as_groups),
    }


class Playbook:
    """A playbook under ansible-runner; its own output goes to a file of the run."""

    def __init__(self, folder: RunDir, path: Path, extravars: Mapping[str, Any]) -> None:
        self.folder, self._path, self._extravars = folder, path, extravars
        self.cancelled = False
        self.refusal: Mapping[str, Any] = {}
        """What the module answered that failed, when it failed before the engine could write it down."""
        self.output = folder.path / "ansible"

    def start(self) -> None:
        """Run it to its end."""
        import ansible_runner

        self.output.mkdir(mode=0o700, exist_ok=True)
        ansible_runner.run(
            private_data_dir=str(self.output),
            playbook=str(self._path),
            inventory="localhost,",
            extravars=dict(self._extravars),
            envvars=ANSIBLE_SETTINGS,
            quiet=True,
            cancel_callback=lambda: self.cancelled,
            event_handler=self._heard,
        )

    def _heard(self, event: Mapping[str, Any]) -> bool:
        if event.get("event") == "runner_on_failed":
            self.refusal = event["event_data"]["res"]
        return False

    def ask_to_stop(self) -> None:
        """Let the run stop at the next safe point."""
        StopSignal(self.folder.stop).request()
