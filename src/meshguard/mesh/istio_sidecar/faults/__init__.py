"""Faults of an Istio sidecar mesh, each a pure function from a snapshot and its arguments to the phases of a plan.

A fault is a plan like any other: every step carries what it expects to find, so that the way back is known before
the first write. What cannot be written as such steps (a delay, a stream) is no fault of this room.
"""

from meshguard.mesh.istio_sidecar.faults.catalogue import FAULTS, Fault
from meshguard.mesh.istio_sidecar.faults.targets import FaultError, admitted

__all__ = ["FAULTS", "Fault", "FaultError", "admitted"]
