"""What the doors of this collection have in common.

They are action plugins and not modules for the sake of time, which at 3 a.m. is the point: Ansible imports an action
plugin before it forks a task's process, so the engine is loaded once for all tasks. A module is packed, and a fresh
interpreter started that loads everything again, for each. Either way the engine runs in the task's own process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml
from ansible.plugins.action import ActionBase

from meshguard.doors.ansible import DoorError, preload

preload()

#: What Ansible calls an argument's specification, out of all that its documentation says.
_SPECIFICATION = ("type", "elements", "choices", "required", "default")


class Door(ActionBase):
    """Translates between Ansible and a door of meshguard."""

    DOCUMENTATION: ClassVar[str]
    """What `ansible-doc` shows; the arguments are checked against it."""
    _requires_connection = False

    def enter(self, arguments: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """Go through the door and return its answer. Raises DoorError."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Do the task and return what Ansible registers."""
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec=_specification(self.DOCUMENTATION))
        # Ansible's strings and mappings remember where they come from; beyond this door they are plain ones.
        plain = json.loads(json.dumps(arguments))
        try:
            return self.enter(plain, check=self._task.check_mode)
        except DoorError as error:
            return {"failed": True, "msg": str(error), "cause": error.cause}


def _specification(documentation: str) -> dict[str, dict[str, Any]]:
    options: Mapping[str, Mapping[str, Any]] = yaml.safe_load(documentation)["options"]
    return {name: {key: about[key] for key in _SPECIFICATION if key in about} for name, about in options.items()}
