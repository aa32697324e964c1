"""Plan a break-glass or its way back and open the run. The work is in `meshguard.doors.ansible`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.meshguard.mesh.plugins.modules import snapshot
from ansible_collections.meshguard.mesh.plugins.plugin_utils.door import Door

from meshguard.doors.ansible import SnapshotRequest, open_run


class ActionModule(Door):
    """`meshguard.mesh.snapshot`."""

    DOCUMENTATION = snapshot.DOCUMENTATION

    def enter(self, arguments: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """Plan and open the run, or only plan."""
        return open_run(SnapshotRequest(**arguments), check=check)
