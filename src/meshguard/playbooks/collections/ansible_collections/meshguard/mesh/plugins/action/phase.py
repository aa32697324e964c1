"""Execute one phase of an open run. The work is in `meshguard.doors.ansible`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.meshguard.mesh.plugins.modules import phase
from ansible_collections.meshguard.mesh.plugins.plugin_utils.door import Door

from meshguard.doors.ansible import run_phase


class ActionModule(Door):
    """`meshguard.mesh.phase`."""

    DOCUMENTATION = phase.DOCUMENTATION

    def enter(self, arguments: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """Execute the phase, or say what it would write."""
        return run_phase(arguments["name"], arguments["opened"], check=check)
