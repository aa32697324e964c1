"""The Chaos Toolkit extension: faults of a mesh, what shows them, and the controls that keep them a rehearsal.

Every action is a plan of meshguard, executed by its engine: journalled before it is made, mirrored in the cluster,
and undone by `meshguard chaos undo` from any machine.
"""

from chaoslib.discovery.discover import (
    discover_actions,
    discover_probes,
    initialize_discovery_result,
)
from chaoslib.types import DiscoveredActivities, Discovery

from meshguard import __version__

__all__ = ["discover"]


def discover(discover_system: bool = True) -> Discovery:
    """Tell Chaos Toolkit what this extension offers (`chaos discover --no-install meshguard`)."""
    found = initialize_discovery_result("meshguard", __version__, "kubernetes")
    found["activities"].extend(_activities())
    return found


def _activities() -> DiscoveredActivities:
    return [
        *discover_actions("meshguard.chaos.actions"),
        *discover_probes("meshguard.chaos.probes"),
        *discover_probes("meshguard.chaos.tolerances"),
    ]
