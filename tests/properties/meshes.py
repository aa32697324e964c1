"""Random meshes: namespaces with and without injection, workloads that drifted, policies at every level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from meshguard.model.objects import Resource
from meshguard.model.snapshot import Snapshot
from tests.builders import World, injector, obj, policy
from tests.properties.oracle import Oracle, owner_of, proxied

NAMESPACES = ("ants", "bees", "cats", "dogs")
MODES = ("STRICT", "STRICT", "PERMISSIVE", "DISABLE", "UNSET")
AGES = tuple(f"2026-01-0{day}T00:00:00Z" for day in range(1, 9))
PORT = 8080

_enrolment = st.sampled_from(
    [{"istio-injection": "enabled"}] * 5 + [{"istio.io/rev": "default"}, {}, {"istio-injection": "disabled"}]
)
_mode = st.sampled_from(MODES)
_age = st.sampled_from(AGES)
_tls: st.SearchStrategy[str | None] = st.sampled_from(["ISTIO_MUTUAL", "ISTIO_MUTUAL", "ISTIO_MUTUAL", "DISABLE", None])


def _tls_block(mode: str | None) -> dict[str, Any]:
    return {"tls": {"mode": mode}} if mode else {}


#: A scope as drawn; `Generated.named` makes namespaces of it that are there.
scopes = st.sets(st.sampled_from(NAMESPACES), min_size=1, max_size=2)


class Generated:
    """A mesh that prints as what was drawn, so that a failing example can be read."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def named(self, scope: set[str]) -> frozenset[str]:
        """The namespaces that a drawn scope stands for in this mesh."""
        present = [name for name in NAMESPACES if name in self.snapshot.namespaces]
        return frozenset(present[NAMESPACES.index(name) % len(present)] for name in scope)

    def __repr__(self) -> str:
        return "\n".join(["", *self._lines()])

    def _lines(self) -> Iterator[str]:
        pods = [r.doc for r in self.snapshot.of_kind("Pod")]
        for ref, resource in sorted(self.snapshot.resources.items()):
            doc = resource.doc
            if ref.kind == "Namespace":
                yield f"{ref}: {doc['metadata'].get('labels') or {}}"
            elif ref.kind in ("Deployment", "StatefulSet", "DaemonSet"):
                members = [proxied(p) for p in pods if owner_of(p) == ref]
                labels, port = doc["spec"]["template"]["metadata"]["labels"], _ports(doc)
                yield f"{ref}: {labels} {port}, {sum(members)} of {len(members)} pods meshed"
            elif ref.kind == "Service" and doc["spec"]["clusterIP"] == "None":
                yield f"{ref}: headless"
            elif ref.kind in ("PeerAuthentication", "DestinationRule", "AuthorizationPolicy"):
                yield f"{ref} ({doc['metadata']['creationTimestamp'][:10]}): {doc['spec']}"
            elif ref.kind == "ConfigMap":
                yield f"{ref}: {doc['mesh']}"


def _ports(workload: Any) -> str:
    return ", ".join(port["name"] for c in workload["spec"]["template"]["spec"]["containers"] for port in c["ports"])


@st.composite
def meshes(draw: st.DrawFn) -> Generated:
    """A cluster of two to four application namespaces with a few workloads each."""
    world = World().namespace("istio-system").namespace("kube-system").add(injector())
    world.deployment(
        "istio-system",
        "istiod",
        port=15017,
        port_name="https-webhook",
        meshed=False,
        container={"image": "docker.io/istio/pilot:1.31.0"},
    )
    if draw(st.integers(0, 9)) == 0:
        world.add(obj("ConfigMap", "istio-system", "istio", mesh={"enableAutoMtls": False}))
    spaces = NAMESPACES[: draw(st.integers(2, 4))]
    services: list[tuple[str, str]] = []
    for space in spaces:
        world.namespace(space, **draw(_enrolment))
        for number in range(draw(st.integers(1, 2))):
            services.append((space, f"{space}-{number}"))
            draw(_workload(world, space, f"{space}-{number}"))
    _membership_of_pods(world, draw(st.integers(0, 5)) == 0)
    world.add(*draw(_peer_authentications(services)))
    world.add(*draw(_destination_rules(services)))
    world.add(*draw(_authorization_policies(services)))
    return Generated(world.snapshot())


@st.composite
def _workload(draw: st.DrawFn, world: World, space: str, name: str) -> None:
    labels = draw(
        st.sampled_from([{}] * 8 + [{"sidecar.istio.io/inject": "true"}, {"sidecar.istio.io/inject": "false"}])
    )
    world.deployment(
        space,
        name,
        port=PORT,
        port_name=draw(st.sampled_from(["http", "http", "http", "grpc", "tcp"])),
        kind=draw(st.sampled_from(["Deployment", "Deployment", "StatefulSet", "DaemonSet"])),
        replicas=draw(st.sampled_from([2, 2, 2, 1])),
        template_labels=labels,
        headless=draw(st.integers(0, 5)) == 0,
    )


def _membership_of_pods(world: World, drift: bool) -> None:
    """Give the pods what admission gives them; with `drift`, the first workload has been restarted while it was off."""
    oracle = Oracle(world.snapshot())
    templates = {(o.ref.namespace, o.ref.name): o.doc["spec"]["template"] for o in world.objects if _is_workload(o)}
    drifted = next(iter(templates)) if drift and len(templates) > 1 else None
    objects = []
    for resource in world.objects:
        if resource.ref.kind == "Pod" and resource.ref.namespace != "istio-system":
            owner = resource.doc["metadata"]["ownerReferences"][0]["name"]
            key = (resource.ref.namespace, owner)
            due = oracle.admits(resource.ref.namespace, templates[key])
            resource = _as_admitted(resource, due != (key == drifted))
        objects.append(resource)
    world.objects[:] = objects


def _is_workload(resource: Resource) -> bool:
    return resource.ref.kind in ("Deployment", "StatefulSet", "DaemonSet") and resource.ref.namespace != "istio-system"


def _as_admitted(pod: Resource, injected: bool) -> Resource:
    doc: dict[str, Any] = {**pod.doc, "metadata": dict(pod.doc["metadata"]), "spec": dict(pod.doc["spec"])}
    if injected:
        assert proxied(doc)
        doc["metadata"]["labels"] = {**doc["metadata"]["labels"], "security.istio.io/tlsMode": "istio"}
    else:
        doc["metadata"]["annotations"] = {}
        doc["spec"]["containers"] = [c for c in doc["spec"]["containers"] if c["name"] != "istio-proxy"]
    return type(pod)(pod.ref, doc)


@st.composite
def _peer_authentications(draw: st.DrawFn, services: list[tuple[str, str]]) -> list[Resource]:
    found = []
    if draw(st.integers(0, 4)):
        mode = draw(st.sampled_from(["STRICT", "STRICT", "STRICT", "PERMISSIVE", "DISABLE"]))
        found.append(policy("PeerAuthentication", "istio-system", "default", {"mtls": {"mode": mode}}))
    for space in sorted({space for space, _ in services}):
        for number in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            spec = {"mtls": {"mode": draw(_mode)}}
            found.append(policy("PeerAuthentication", space, f"wide-{number}", spec, created=draw(_age)))
    for space, name in services:
        for number in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
            own: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "mtls": {"mode": draw(_mode)}}
            if draw(st.booleans()):
                own["portLevelMtls"] = {str(PORT): {"mode": draw(_mode)}}
            found.append(policy("PeerAuthentication", space, f"own-{name}-{number}", own, created=draw(_age)))
    return found


@st.composite
def _destination_rules(draw: st.DrawFn, services: list[tuple[str, str]]) -> list[Resource]:
    spaces = sorted({space for space, _ in services})
    found: dict[tuple[str, str], Resource] = {}
    for _ in range(draw(st.integers(0, 3))):
        space, name = draw(st.sampled_from(services))
        home = draw(st.sampled_from([space, *spaces, "istio-system"]))
        host = draw(
            st.sampled_from([f"{name}.{space}.svc.cluster.local"] * 3 + [f"*.{space}.svc.cluster.local", "*.local"])
        )
        spec: dict[str, Any] = {"host": host}
        top = _tls_block(draw(_tls))
        if draw(st.integers(0, 3)) == 0:
            top["portLevelSettings"] = [{"port": {"number": 80}, **_tls_block(draw(_tls))}]
            if not top["portLevelSettings"][0].get("tls"):
                top["portLevelSettings"][0]["loadBalancer"] = {"simple": "LEAST_REQUEST"}
        if draw(st.booleans()) and top:
            top["connectionPool"] = {"tcp": {"maxConnections": 100}}
        if top:
            spec["trafficPolicy"] = top
        if not host.startswith("*") and draw(st.integers(0, 2)) == 0:
            block = _tls_block(draw(_tls))
            subset = {"name": "v1", "labels": {"app": name}, **({"trafficPolicy": block} if block else {})}
            spec["subsets"] = [subset]
        if draw(st.integers(0, 5)) == 0:
            spec["exportTo"] = ["."]
        # two rules for one host in one namespace are merged by Istio; that is left to the tests against istiod
        key = (home, host)
        found[key] = policy("DestinationRule", home, f"rule-{len(found)}", spec, created=draw(_age))
    return list(found.values())


@st.composite
def _authorization_policies(draw: st.DrawFn, services: list[tuple[str, str]]) -> list[Resource]:
    found = []
    for number in range(draw(st.sampled_from([0, 0, 1, 2]))):
        space, name = draw(st.sampled_from(services))
        caller_space, caller = draw(st.sampled_from(services))
        principal = f"cluster.local/ns/{caller_space}/sa/{caller}"
        source = draw(
            st.sampled_from(
                [
                    {"principals": [principal]},
                    {"principals": [f"cluster.local/ns/{caller_space}/*"]},
                    {"principals": ["*"]},
                    {"namespaces": [caller_space]},
                    {"notPrincipals": [principal]},
                    {"notNamespaces": [caller_space]},
                ]
            )
        )
        spec: dict[str, Any] = {
            "action": draw(st.sampled_from(["ALLOW", "ALLOW", "DENY"])),
            "rules": [{"from": [{"source": source}]}],
        }
        if draw(st.integers(0, 4)) == 0:
            spec["rules"] = [{"when": [{"key": "source.principal", "values": [principal]}]}]
        if draw(st.booleans()):
            spec["rules"].append({"from": [{"source": {"namespaces": ["cats"]}}]})
        if draw(st.booleans()):
            spec["selector"] = {"matchLabels": {"app": name}}
        found.append(policy("AuthorizationPolicy", space, f"authz-{number}", spec))
    return found
