"""What the fleet consists of. Memory in MiB, CPU in cores, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

Version = tuple[int, int]


@dataclass(slots=True, eq=False)
class Pod:
    """A pod of a service, perhaps with a sidecar."""

    key: str
    service: Service
    node: Node
    meshed: bool
    born: float
    app_mib: float
    weight: float
    """How much of its service's load it gets, compared with its siblings: about 1."""
    version: Version = (1, 24)
    limit_mib: float = 0.0
    """The sidecar's memory limit; 0 for none."""
    ready: bool = False
    proxy_mib: float = 0.0
    seen: int = -1
    """The generation of configuration that its proxy has; -1 for none."""
    down_until: float = -1.0
    """Its sidecar is being restarted until then."""
    restarts: int = 0
    flapping: bool = False
    """It answers no readiness probes, for want of CPU."""
    rejected: int = 0
    push_core_s: float = 0.0
    """CPU time that its proxy still has to spend on configuration."""

    @property
    def mib(self) -> float:
        """Application and sidecar together."""
        return self.app_mib + self.proxy_mib


@dataclass(slots=True, eq=False)
class Node:
    """A node."""

    name: str
    mib: float
    cores: float
    phase: float
    """When, within its ten seconds, the kubelet looks."""
    pods: dict[str, Pod] = field(default_factory=dict)
    used_mib: float = 0.0
    busy: float = 0.0
    """CPU that is wanted, as a share of what there is; above 1 there is too little."""
    backlog_s: float = 0.0
    """How long work waits that came while there was too little CPU."""
    hop_s: float = 0.0
    """P99 of a hop to one of its pods."""
    pressed_until: float = -1.0
    reclaiming: bool = False
    killed_at: float = -1.0

    def free_mib(self) -> float:
        """What is not used."""
        return self.mib - self.used_mib


@dataclass(slots=True, eq=False)
class Service:
    """A service; its pods share its load."""

    number: int
    name: str
    namespace: str
    wanted: int
    callees: tuple[int, ...] = ()
    pods: dict[str, Pod] = field(default_factory=dict)
    ready: int = 0
    """Pods that are ready."""
    gone: int = 0
    """Endpoints that callers' proxies still know, and that are there no more."""

    @property
    def host(self) -> str:
        """As callers name it."""
        return f"{self.name}.{self.namespace}.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a person would want to know of."""

    at: float
    kind: str
    subject: str
    note: str = ""
