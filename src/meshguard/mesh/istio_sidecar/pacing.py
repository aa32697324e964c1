"""On the way back PeerAuthentications are written one by one, each seen at the proxies before the next.

Seen on the testbed (istiod 1.31 development): five of them deleted at once came out as two pushes 150 ms apart, and
the proxies of three namespaces never got the second one; they went on with the old mode until something else made
istiod push to them. A write that waits for the one before it leaves no two pushes to overtake each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Settings
from meshguard.model.plan import Action, Await, Check, Step, Wave


def one_by_one(scope: Scope, steps: Sequence[Step], settings: Settings) -> tuple[Wave, ...]:
    """Return a wave for each written step with the look at its proxies; what is held or released needs none."""
    written = [s for s in steps if s.action not in (Action.HOLD, Action.RELEASE)]
    silent = tuple(s for s in steps if s not in written)
    waves = [Wave((step,), (_seen(scope, step, settings.converge_deadline_s),)) for step in written]
    return (*([Wave(silent)] if silent else []), *waves)


def _seen(scope: Scope, step: Step, deadline_s: float) -> Await:
    namespace = step.target.namespace
    mesh_wide = namespace == scope.mesh.root_namespace
    spaces = tuple(sorted({*scope.meshed_namespaces, *scope.namespaces})) if mesh_wide else (namespace,)
    return Await(
        Check.INBOUND, f"the proxies in {', '.join(spaces)} have what the policies say", spaces, {}, deadline_s
    )
