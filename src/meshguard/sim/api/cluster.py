"""A cluster in memory: the store, the resources, the rules of writing, and what every new cluster has."""

from __future__ import annotations

from meshguard.sim.api.admission.chain import Chain
from meshguard.sim.api.admission.lifecycle import NamespaceLifecycle
from meshguard.sim.api.admission.pods import PodDefaults
from meshguard.sim.api.admission.webhooks import Webhooks
from meshguard.sim.api.api import Api
from meshguard.sim.api.authorization import Authorizer
from meshguard.sim.api.codec import decode
from meshguard.sim.api.controllers.budgets import DisruptionBudgets
from meshguard.sim.api.controllers.daemon_sets import DaemonSets
from meshguard.sim.api.controllers.deployments import Deployments
from meshguard.sim.api.controllers.endpoints import Endpoints
from meshguard.sim.api.controllers.housekeeping import Garbage, Namespaces
from meshguard.sim.api.controllers.jobs import CronJobs, Jobs
from meshguard.sim.api.controllers.ordered import StatefulSets
from meshguard.sim.api.controllers.replica_sets import ReplicaSets
from meshguard.sim.api.controllers.work import Work
from meshguard.sim.api.definitions import Definitions
from meshguard.sim.api.discovery import VERSION
from meshguard.sim.api.istiod import Injector, revised
from meshguard.sim.api.kubelet import Kubelet, Pace
from meshguard.sim.api.objects import Objects, Write
from meshguard.sim.api.resources import Registry, packaged, packaged_definitions
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Store
from meshguard.sim.clock import SimClock
from meshguard.sim.pods import Ports

NODES = 3
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class SimulatedCluster:
    """Everything that one simulated cluster consists of."""

    def __init__(self, clock: SimClock, *, authority: str = "", pace: Pace | None = None) -> None:
        self.clock = clock
        self.ports = Ports()
        self.store = Store(clock)
        self.registry = Registry()
        self.chain = Chain(
            [
                NamespaceLifecycle(self.store),
                PodDefaults(self.store),
                Webhooks(self.store, {"/inject": Injector(self.store)}),
            ]
        )
        self.objects = Objects(self.store, self.registry, clock, self.chain)
        self.authorizer = Authorizer(self.store)
        self.api = Api(self.objects, self.authorizer, self.ports)
        Definitions(self.objects).follow()
        self.work = Work(self.objects, clock)
        self.kubelet = Kubelet(self.objects, pace)
        self.work.add(
            [
                self.kubelet,
                ReplicaSets(self.objects),
                Deployments(self.objects),
                StatefulSets(self.objects),
                DaemonSets(self.objects),
                Jobs(self.objects),
                CronJobs(self.objects),
                Endpoints(self.objects),
                DisruptionBudgets(self.objects),
                Namespaces(self.objects, authority),
                Garbage(self.objects),
            ]
        )

    def seed(self, *definitions: str) -> None:
        """Create what a new cluster has, and the packaged custom resource definitions of these names."""
        for name in _NAMESPACES:
            self.create("v1", "Namespace", "", {"metadata": {"name": name}})
        for number in range(1, NODES + 1):
            self.put_node(f"node{number}", f"10.96.255.{number}")
        for doc in (*packaged("roles.json"), *packaged("users.yaml")):
            self.create(doc["apiVersion"], doc["kind"], "", doc)
        for definition in packaged_definitions(*definitions):
            self.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", definition)

    def install(self, name: str, revision: str = "") -> None:
        """Create what a packaged file of manifests holds, such as `istiod`, perhaps as another revision."""
        for doc in revised(packaged(f"{name}.yaml"), revision) if revision else packaged(f"{name}.yaml"):
            self.create(doc["apiVersion"], doc["kind"], doc["metadata"].get("namespace", ""), doc)

    def put_node(self, name: str, address: str, sizes: Doc | None = None) -> None:
        """Create a node that is ready, or give one that is there another address and other sizes."""
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        if self.store.get("nodes", "", name) is None:
            self.create("v1", "Node", "", {"metadata": {"name": name, "labels": labels}})
        sizes = sizes or {"cpu": "64", "memory": "256Gi", "pods": "1100"}
        now = self.objects.now()
        ready = {
            "type": "Ready",
            "status": "True",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
        }
        status: Doc = {
            "capacity": sizes,
            "allocatable": sizes,
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "nodeInfo": {"kubeletVersion": VERSION["gitVersion"], "operatingSystem": "linux", "architecture": "amd64"},
        }
        nodes = self.registry.find("", "v1", "nodes")
        assert nodes is not None
        self.objects.update(nodes, "", name, lambda old: {**old, "status": status}, Write(), "status")

    def create(self, api_version: str, kind: str, namespace: str, doc: Doc) -> None:
        """Create an object as the system does. Raises ApiError; KeyError for a kind that is not served."""
        resource = self.registry.of_kind(api_version, kind)
        if resource is None:
            raise KeyError(f"{api_version} {kind}")
        decoded, _ = decode(resource, {"apiVersion": api_version, "kind": kind, **doc})
        self.objects.create(resource, namespace, decoded, Write())
