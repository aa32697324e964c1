"""A cluster in memory: the store, the resources, the rules of writing, and what every new cluster has."""

from __future__ import annotations

from meshguard.ports import Clock
from meshguard.sim.api.admission.chain import Chain
from meshguard.sim.api.admission.lifecycle import NamespaceLifecycle
from meshguard.sim.api.api import Api
from meshguard.sim.api.definitions import Definitions
from meshguard.sim.api.objects import Objects, Write
from meshguard.sim.api.resources import Registry, packaged_definitions
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Store

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class SimulatedCluster:
    """Everything that one simulated cluster consists of."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = Store(clock)
        self.registry = Registry()
        self.chain = Chain([NamespaceLifecycle(self.store)])
        self.objects = Objects(self.store, self.registry, clock, self.chain)
        self.api = Api(self.objects)
        Definitions(self.objects).follow()

    def seed(self, *definitions: str) -> None:
        """Create what a new cluster has, and the packaged custom resource definitions of these names."""
        for name in _NAMESPACES:
            self.create("v1", "Namespace", "", {"metadata": {"name": name}})
        for definition in packaged_definitions(*definitions):
            self.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", definition)

    def create(self, api_version: str, kind: str, namespace: str, doc: Doc) -> None:
        """Create an object as the system does. Raises ApiError; KeyError for a kind that is not served."""
        from meshguard.sim.api.codec import decode

        resource = self.registry.of_kind(api_version, kind)
        if resource is None:
            raise KeyError(f"{api_version} {kind}")
        decoded, _ = decode(resource, {"apiVersion": api_version, "kind": kind, **doc})
        self.objects.create(resource, namespace, decoded, Write())
