"""The faults by name: what an action of the same name asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meshguard.mesh.istio_sidecar.faults import control_plane, members, traffic
from meshguard.mesh.protocol import Draft


@dataclass(frozen=True)
class Fault:
    """A fault: its planner takes a snapshot, the settings, and the arguments of the action by name."""

    name: str
    plan: Callable[..., Draft]
    control_plane: bool = False
    """It is undone before all others: nothing heals while the control plane is away."""


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("limit_sidecars", members.limit_sidecars),
        Fault("use_proxy_image", members.use_proxy_image),
        Fault("move_to_revision", members.move_to_revision),
        Fault("strip_label", members.strip_label),
        Fault("evict", members.evict),
        Fault("istiod_down", control_plane.istiod_down, control_plane=True),
        Fault("istiod_starved", control_plane.istiod_starved, control_plane=True),
        Fault("injector_without_endpoints", control_plane.injector_without_endpoints, control_plane=True),
        Fault("run_job", traffic.run_job),
        Fault("run_workload", traffic.run_workload),
        Fault("mtls_mode", traffic.mtls_mode),
        Fault("retry_posts", traffic.retry_posts),
        Fault("churn_hosts", traffic.churn_hosts),
    )
}
