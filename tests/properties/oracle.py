"""Who can talk to whom, simulated from the documents of a snapshot: an oracle that shares no code with the planner.

Written from the facts about Istio (who is injected, which TLS a client sends, which a server takes, whom an
AuthorizationPolicy lets in), with none of meshguard's own rules. It imports the model for its documents only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from meshguard.model.objects import Ref
from meshguard.model.snapshot import Snapshot

Doc = Mapping[str, Any]

_SERVER_FIRST = ("tcp", "mysql")
_SYSTEM = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")


def _spec(doc: Doc) -> Doc:
    return doc.get("spec") or {}


def _labels(doc: Doc) -> dict[str, str]:
    return dict(doc["metadata"].get("labels") or {})


def _subset_of(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


@dataclass(frozen=True)
class Caller:
    """A pod in its role as a client; pods that are the same in these respects fare the same."""

    workload: str
    namespace: str
    account: str
    proxied: bool
    labels: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.workload} ({'meshed' if self.proxied else 'unmeshed'})"


@dataclass(frozen=True)
class Callee:
    """A service port, perhaps one of its subsets; `pods` is not part of who it is."""

    namespace: str
    service: str
    port: int
    subset: str = ""

    def __str__(self) -> str:
        return f"{self.service}.{self.namespace}:{self.port}" + (f"/{self.subset}" if self.subset else "")


@dataclass(frozen=True)
class Edge:
    """One workload calls one service port."""

    caller: str
    """`namespace/workload`: it keeps its name when its proxy comes or goes."""
    callee: Callee

    def __str__(self) -> str:
        return f"{self.caller} -> {self.callee}"


@dataclass
class Oracle:
    """One moment of a cluster."""

    snapshot: Snapshot
    _by_kind: dict[str, list[Doc]] = field(init=False)

    def __post_init__(self) -> None:
        self._by_kind = {}
        for ref, resource in self.snapshot.resources.items():
            self._by_kind.setdefault(ref.kind, []).append(resource.doc)

    def _all(self, kind: str) -> list[Doc]:
        return self._by_kind.get(kind, [])

    @cached_property
    def _mesh(self) -> Doc:
        for doc in self._all("ConfigMap"):
            if doc["metadata"]["name"] == "istio":
                return doc.get("mesh") or {}
        return {}

    @cached_property
    def root(self) -> str:
        """The namespace whose policies hold for the mesh."""
        return str(self._mesh.get("rootNamespace", "istio-system"))

    @cached_property
    def pods(self) -> list[Doc]:
        """Pods that serve."""
        return [p for p in self._all("Pod") if (p.get("status") or {}).get("phase") == "Running"]

    # Who is in: facts, section 1.

    def admits(self, namespace: str, template: Doc) -> bool:
        """Whether the next pod of a template in a namespace gets a proxy, with every injector alive."""
        metadata = template.get("metadata") or {}
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        space = next(n for n in self._all("Namespace") if n["metadata"]["name"] == namespace)
        space_labels = {**_labels(space), "kubernetes.io/metadata.name": namespace}
        called = any(
            _selected(hook.get("namespaceSelector"), space_labels) and _selected(hook.get("objectSelector"), labels)
            for configuration in self._all("MutatingWebhookConfiguration")
            for hook in configuration.get("webhooks") or ()
        )
        if not called or _spec(template).get("hostNetwork") or namespace in _SYSTEM:
            return False
        own = labels.get("sidecar.istio.io/inject", annotations.get("sidecar.istio.io/inject"))
        return own != "false"

    # What a server takes: facts, section 2.

    def mode(self, pod: Doc, port: int) -> str:
        """The effective PeerAuthentication of a proxied pod's port: port, workload, namespace, mesh; oldest wins."""
        namespace, labels = pod["metadata"]["namespace"], _labels(pod)
        own = self._oldest(
            p
            for p in self._all("PeerAuthentication")
            if p["metadata"]["namespace"] == namespace
            and _pa_selector(p)
            and _subset_of(_pa_selector(p), labels)
            and namespace != self.root
        )
        if own:
            level = (_spec(own).get("portLevelMtls") or {}).get(str(port)) or {}
            if level.get("mode", "UNSET") != "UNSET":
                return str(level["mode"])
            if (_spec(own).get("mtls") or {}).get("mode", "UNSET") != "UNSET":
                return str(_spec(own)["mtls"]["mode"])
        for scope in (namespace, self.root):
            wide = self._oldest(
                p
                for p in self._all("PeerAuthentication")
                if p["metadata"]["namespace"] == scope and not _pa_selector(p)
            )
            mode = (_spec(wide).get("mtls") or {}).get("mode", "UNSET") if wide else "UNSET"
            if mode != "UNSET":
                return str(mode)
        return "PERMISSIVE"

    @staticmethod
    def _oldest(policies: Iterable[Doc]) -> Doc | None:
        return min(
            policies, key=lambda p: (p["metadata"].get("creationTimestamp") or "9", p["metadata"]["name"]), default=None
        )

    # What a client sends: facts, section 2.

    def client_tls(self, namespace: str, callee: Callee) -> str:
        """The DestinationRules' word for a proxied client in a namespace: a TLS mode, or `auto`."""
        policies = self._traffic_policies(namespace, callee)
        for policy in policies:
            for entry in policy.get("portLevelSettings") or ():
                if (entry.get("port") or {}).get("number") == callee.port:
                    # a port entry replaces its level as a whole; silent, it leaves the decision to the endpoints,
                    # and those carry the mark of the level's own mode
                    return _mode(entry) or next((mode for p in policies if (mode := _mode(p))), "auto")
            if _mode(policy):
                return _mode(policy)
        return "auto"

    def _traffic_policies(self, namespace: str, callee: Callee) -> list[Doc]:
        """The subset's policy before the host's."""
        rule = self._rule_for(namespace, callee)
        if rule is None:
            return []
        subsets = [s for s in _spec(rule).get("subsets") or () if callee.subset and s["name"] == callee.subset]
        levels = [s.get("trafficPolicy") for s in subsets] + [_spec(rule).get("trafficPolicy")]
        return [level for level in levels if level]

    def _rule_for(self, namespace: str, callee: Callee) -> Doc | None:
        host = f"{callee.service}.{callee.namespace}.svc.cluster.local"
        for scope in (namespace, callee.namespace, self.root):
            found = [
                rule
                for rule in self._all("DestinationRule")
                if rule["metadata"]["namespace"] == scope
                and _covers(_rule_host(rule), host)
                and (scope == namespace or "." not in (_spec(rule).get("exportTo") or ["*"]))
            ]
            if found:
                exact = [rule for rule in found if not _rule_host(rule).startswith("*")]
                longest = max(len(_rule_host(rule)) for rule in found)
                best = exact or [rule for rule in found if len(_rule_host(rule)) == longest]
                return self._oldest(best)
        return None

    def _namespace_disables(self, namespace: str) -> bool:
        """Callers leave TLS off for every service of a namespace whose own mode is DISABLE."""
        for scope in (namespace, self.root):
            wide = self._oldest(
                p
                for p in self._all("PeerAuthentication")
                if p["metadata"]["namespace"] == scope and not _pa_selector(p)
            )
            mode = (_spec(wide).get("mtls") or {}).get("mode", "UNSET") if wide else "UNSET"
            if mode != "UNSET":
                return bool(mode == "DISABLE")
        return False

    # Who may: AuthorizationPolicies.

    def allowed(self, pod: Doc, principal: str | None, caller_namespace: str | None) -> bool:
        """Whether a proxied server lets a caller in; `principal` is None for plaintext."""
        mine = [
            p
            for p in self._all("AuthorizationPolicy")
            if p["metadata"]["namespace"] in (pod["metadata"]["namespace"], self.root)
            and _subset_of((_spec(p).get("selector") or {}).get("matchLabels") or {}, _labels(pod))
        ]
        for policy in mine:
            if _spec(policy).get("action") == "DENY" and _any_rule(policy, principal, caller_namespace):
                return False
        allows = [p for p in mine if _spec(p).get("action", "ALLOW") == "ALLOW"]
        return not allows or any(_any_rule(p, principal, caller_namespace) for p in allows)

    # Together.

    def callers(self) -> dict[Caller, str]:
        """Every kind of client there is, with the name of its workload."""
        found = {}
        for pod in self.pods:
            namespace = pod["metadata"]["namespace"]
            account = _spec(pod).get("serviceAccountName", "default")
            name = _workload_name(pod)
            labels = tuple(sorted(_labels(pod).items()))
            found[Caller(name, namespace, account, proxied(pod), labels)] = f"{namespace}/{name}"
        return found

    def callees(self) -> Iterator[tuple[Callee, Doc, Doc]]:
        """Every service port, and every subset that a DestinationRule makes of it."""
        for service in self._all("Service"):
            namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
            host = f"{name}.{namespace}.svc.cluster.local"
            subsets = {
                s["name"]
                for rule in self._all("DestinationRule")
                if _rule_host(rule) == host
                for s in _spec(rule).get("subsets") or ()
            }
            for port in _spec(service).get("ports") or ():
                for subset in ("", *sorted(subsets)):
                    yield Callee(namespace, name, port["port"], subset), service, port

    def endpoints(self, service: Doc, callee: Callee) -> list[Doc]:
        """The pods behind a service; all subsets of the generated meshes select all of them."""
        selector = _spec(service).get("selector") or {}
        return [
            p
            for p in self.pods
            if selector and p["metadata"]["namespace"] == callee.namespace and _subset_of(selector, _labels(p))
        ]

    def working_edges(self) -> set[Edge]:
        """The edges on which every request succeeds: from every pod of the caller to every pod of the callee."""
        callers = self.callers()
        by_name: dict[str, list[Caller]] = {}
        for caller, name in callers.items():
            by_name.setdefault(name, []).append(caller)
        working = set()
        for callee, service, port in self.callees():
            pods = self.endpoints(service, callee)
            if not pods:
                continue
            headless = _spec(service).get("clusterIP") == "None"
            servers = self._servers(pods, port)
            plain_for_all = self._namespace_disables(callee.namespace) or (
                headless and any(not server.proxied for server in servers)
            )
            for name, members in by_name.items():
                if all(self._gets_through(c, callee, servers, plain_for_all, port) for c in members):
                    working.add(Edge(name, callee))
        return working

    def _servers(self, pods: Iterable[Doc], port: Doc) -> set[_Server]:
        number = int(port["targetPort"])
        found = {}
        for pod in pods:
            mode = self.mode(pod, number) if proxied(pod) else "NONE"
            server = _Server(proxied(pod), mode, tuple(sorted(_labels(pod).items())), pod["metadata"]["namespace"])
            found[server] = pod
        self._pod_of_server = {**getattr(self, "_pod_of_server", {}), **found}
        return set(found)

    def _gets_through(
        self, caller: Caller, callee: Callee, servers: Iterable[_Server], plain_for_all: bool, port: Doc
    ) -> bool:
        rule = self.client_tls(caller.namespace, callee) if caller.proxied else "plain"
        return all(self._one(caller, server, rule, plain_for_all, port) for server in servers)

    def _one(self, caller: Caller, server: _Server, rule: str, plain_for_all: bool, port: Doc) -> bool:
        match rule:
            case "ISTIO_MUTUAL":
                encrypted = True
            case "auto":
                automatic = bool(self._mesh.get("enableAutoMtls", True))
                encrypted = automatic and server.proxied and server.mode != "DISABLE" and not plain_for_all
            case _:
                encrypted = False
        if not server.proxied:
            return not encrypted
        if encrypted and server.mode == "DISABLE":
            return False
        if not encrypted and server.mode == "STRICT":
            return False
        if not encrypted and server.mode == "PERMISSIVE" and _server_first(port):
            return False  # it waits for the client's first bytes for ever
        trust = str(self._mesh.get("trustDomain", "cluster.local"))
        principal = f"{trust}/ns/{caller.namespace}/sa/{caller.account}" if encrypted else None
        key = (server.labels, server.namespace, principal, caller.namespace if encrypted else None)
        cache = self.__dict__.setdefault("_allowed", {})
        if key not in cache:
            cache[key] = self.allowed(self._pod_of_server[server], principal, key[3])
        return bool(cache[key])


@dataclass(frozen=True)
class _Server:
    """What decides how a server takes a call; pods that are the same in this are looked at once."""

    proxied: bool
    mode: str
    labels: tuple[tuple[str, str], ...]
    namespace: str


def proxied(pod: Doc) -> bool:
    """Whether a pod carries a proxy."""
    spec = _spec(pod)
    return any(c["name"] == "istio-proxy" for c in (*spec.get("containers", ()), *spec.get("initContainers", ())))


def owner_of(pod: Doc) -> Ref:
    """The controller of a pod, or the pod itself."""
    metadata = pod["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        return Ref(owner["kind"], metadata["namespace"], owner["name"])
    return Ref("Pod", metadata["namespace"], metadata["name"])


def _workload_name(pod: Doc) -> str:
    return owner_of(pod).name


def _mode(policy: Doc) -> str:
    """The mode of a `tls` block; "" without one, DISABLE in one that names none."""
    return str(policy["tls"].get("mode", "DISABLE")) if "tls" in policy else ""


def _pa_selector(policy: Doc) -> Mapping[str, str]:
    return (_spec(policy).get("selector") or {}).get("matchLabels") or {}


def _rule_host(rule: Doc) -> str:
    host = str(_spec(rule)["host"])
    if "." in host or host.startswith("*"):
        return host
    return f"{host}.{rule['metadata']['namespace']}.svc.cluster.local"


def _covers(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*") else pattern == host


def _server_first(port: Doc) -> bool:
    return str(port.get("name", "")).split("-")[0] in _SERVER_FIRST


def _selected(selector: Doc | None, labels: Mapping[str, str]) -> bool:
    if not selector:
        return True
    if not _subset_of(selector.get("matchLabels") or {}, labels):
        return False
    for expression in selector.get("matchExpressions") or ():
        value, values = labels.get(expression["key"]), expression.get("values") or ()
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[expression["operator"]]
        if not holds:
            return False
    return True


def _any_rule(policy: Doc, principal: str | None, namespace: str | None) -> bool:
    return any(_rule_matches(rule, principal, namespace) for rule in _spec(policy).get("rules") or ())


def _rule_matches(rule: Doc, principal: str | None, namespace: str | None) -> bool:
    """Conditions on the peer only; the generated rules name no paths, so every request has the same `to`."""
    sources = [entry.get("source") or {} for entry in rule.get("from") or ()]
    if sources and not any(_source_matches(source, principal, namespace) for source in sources):
        return False
    return all(
        (principal is not None and any(_glob(v, principal) for v in condition.get("values") or ()))
        for condition in rule.get("when") or ()
        if condition["key"] == "source.principal"
    )


def _source_matches(source: Doc, principal: str | None, namespace: str | None) -> bool:
    """Plaintext has no identity: it matches no positive condition, and every negative one."""
    for key, peer in (("principals", principal), ("namespaces", namespace)):
        if key in source and not (peer is not None and any(_glob(value, peer) for value in source[key])):
            return False
    for key, peer in (("notPrincipals", principal), ("notNamespaces", namespace)):
        if key in source and peer is not None and any(_glob(value, peer) for value in source[key]):
            return False
    return True


def _glob(pattern: str, value: str) -> bool:
    if pattern == "*":
        return value != ""
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == value
