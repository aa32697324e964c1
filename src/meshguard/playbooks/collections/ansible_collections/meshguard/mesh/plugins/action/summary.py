"""Say how the runs of several clusters came out. The work is in `meshguard.doors.ansible`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.utils.display import Display
from ansible_collections.meshguard.mesh.plugins.modules import summary
from ansible_collections.meshguard.mesh.plugins.plugin_utils.door import Door

from meshguard.doors.ansible import sum_up


class ActionModule(Door):
    """`meshguard.mesh.summary`."""

    DOCUMENTATION = summary.DOCUMENTATION

    def enter(self, arguments: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
        """Read the journals and print one line for each cluster."""
        answer = sum_up(arguments["opened"])
        for row in answer["clusters"]:
            Display().display(f"{row['cluster']}: {row['outcome']}  {row['run']}  {row['sentence']}")
        Display().display(answer["sentence"])
        return answer
