"""Four ways to patch, and what each makes of an object."""

from __future__ import annotations

from typing import Any

from testbed.proofs.api_cases.bodies import APPS, CORE, SECURITY, Body, config_map, deployment, istio, labelled, service
from testbed.proofs.api_cases.case import JSON_PATCH, STRATEGIC, Case, Step, case, get, patch, post, put

_MAP, _WEB = f"{CORE}/configmaps/a", f"{APPS}/deployments/web"
_START = labelled(config_map(a="1", b="2"), x="y")
_POLICIES = f"{SECURITY}/peerauthentications"


def _op(name: str, path: str, *value: Any, **more: str) -> Body:
    return {"op": name, "path": path, **({"value": value[0]} if value else {}), **more}


_JSON: tuple[tuple[str, list[Body]], ...] = (
    ("add", [_op("add", "/data/c", "3")]),
    ("add over what is there", [_op("add", "/data/a", "9")]),
    ("add below nothing", [_op("add", "/metadata/annotations/z", "1")]),
    ("add with its parent", [_op("add", "/metadata/annotations", {}), _op("add", "/metadata/annotations/z", "1")]),
    ("remove", [_op("remove", "/data/a")]),
    ("remove what is not there", [_op("remove", "/data/z")]),
    ("replace", [_op("replace", "/data/a", "9")]),
    ("replace what is not there", [_op("replace", "/data/z", "9")]),
    ("move", [_op("move", "/data/c", **{"from": "/data/a"})]),
    ("copy", [_op("copy", "/data/c", **{"from": "/data/a"})]),
    ("a test that holds", [_op("test", "/data/a", "1"), _op("add", "/data/c", "3")]),
    ("a test that fails", [_op("test", "/data/a", "2"), _op("add", "/data/c", "3")]),
    ("a test for null on nothing", [_op("test", "/metadata/annotations", None), _op("add", "/data/c", "3")]),
    ("a test for null below nothing", [_op("test", "/metadata/annotations/z", None)]),
    ("a test for null on something", [_op("test", "/data/a", None)]),
    ("a slash in a key", [_op("add", "/metadata/labels/a.b~1c", "d")]),
    ("an operation that is none", [_op("improve", "/data/a", "2")]),
    ("no operations", []),
)

_MERGE: tuple[tuple[str, Any], ...] = (
    ("change", {"data": {"a": "9"}}),
    ("remove", {"data": {"a": None}}),
    ("remove what is not there", {"data": {"z": None}}),
    ("remove everything", {"data": None}),
    ("nothing", {}),
    ("a list", []),
    ("a wrong type", {"data": {"a": 1}}),
    ("a stale version", {"metadata": {"resourceVersion": "1"}, "data": {"a": "9"}}),
)


def _containers(*found: Body, **more: Any) -> Body:
    return {"spec": {"template": {"spec": {"containers": list(found), **more}}}}


_APP, _EXTRA = {"name": "app", "image": "shop/app:2"}, {"name": "extra", "image": "e:1"}
_ENV = {"name": "app", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
_STRATEGIC: tuple[tuple[str, Any], ...] = (
    ("a container's image", _containers(_APP)),
    ("a container more", _containers(_EXTRA)),
    ("variables", _containers(_ENV)),
    (
        "the template's annotations",
        {"spec": {"template": {"metadata": {"annotations": {"meshguard.dev/restart": "r"}}}}},
    ),
    ("the strategy replaced", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
    ("a container deleted that is not there", _containers({"name": "none", "$patch": "delete"})),
    ("all containers replaced", _containers({"$patch": "replace"}, _EXTRA)),
    ("a container without a name", _containers({"image": "x"})),
    ("tolerations", _containers(_APP, tolerations=[{"key": "a", "operator": "Exists"}])),
    ("a wrong type", {"spec": {"replicas": "x"}}),
)

CASES: tuple[Case, ...] = (
    *(
        case(
            f"JSON patch: {name}", post(f"{CORE}/configmaps", _START).quietly(), patch(_MAP, ops, JSON_PATCH), get(_MAP)
        )
        for name, ops in _JSON
    ),
    *(
        case(f"merge patch: {name}", post(f"{CORE}/configmaps", _START).quietly(), patch(_MAP, body), get(_MAP))
        for name, body in _MERGE
    ),
    *(
        case(
            f"strategic patch: {name}",
            post(f"{APPS}/deployments", deployment()).quietly(),
            patch(_WEB, body, STRATEGIC),
        )
        for name, body in _STRATEGIC
    ),
    case(
        "strategic patch: variables merge and go",
        post(f"{APPS}/deployments", deployment()).quietly(),
        patch(_WEB, _containers(_ENV), STRATEGIC).quietly(),
        patch(
            _WEB,
            _containers({"name": "app", "env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]}),
            STRATEGIC,
        ),
    ),
    case(
        "strategic patch: ports of a service",
        post(f"{CORE}/services", service()).quietly(),
        patch(
            f"{CORE}/services/a", {"spec": {"ports": [{"port": 81, "name": "b"}, {"port": 80, "name": "a"}]}}, STRATEGIC
        ),
    ),
    case(
        "strategic patch: finalizers merge as values",
        post(f"{CORE}/configmaps", _START).quietly(),
        patch(_MAP, {"metadata": {"finalizers": ["e.io/a"]}}, STRATEGIC),
        patch(_MAP, {"metadata": {"finalizers": ["e.io/b"]}}, STRATEGIC),
        patch(_MAP, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["e.io/a", "e.io/b"]}}, STRATEGIC),
    ),
    case(
        "the generation counts changes of the spec",
        post(f"{APPS}/deployments", deployment()),
        patch(_WEB, {"metadata": {"labels": {"a": "b"}}}),
        patch(_WEB, {"spec": {"minReadySeconds": 3}}),
        patch(_WEB, {"spec": {"minReadySeconds": 3}}),
    ),
    case(
        "a custom resource keeps an empty mapping",
        post(_POLICIES, istio("security", "PeerAuthentication", {"mtls": {"mode": "STRICT"}})).quietly(),
        patch(f"{_POLICIES}/a", {"spec": {"mtls": {"mode": None}}}),
        patch(f"{_POLICIES}/a", {"spec": {"mtls": None}}),
        patch(f"{_POLICIES}/a", [_op("add", "/spec/mtls", {"mode": "PERMISSIVE"})], JSON_PATCH),
        patch(f"{_POLICIES}/a", {"metadata": {"labels": {}}}),
    ),
    case(
        "a dry run of a patch",
        post(f"{CORE}/configmaps", _START).quietly(),
        patch(_MAP, {"data": {"a": "9"}}, dryRun="All"),
        get(_MAP),
    ),
    case(
        "the status at its own address",
        post(f"{APPS}/deployments", deployment(paused=True)).quietly(),
        patch(
            f"{_WEB}/status",
            {"status": {"collisionCount": 7}, "spec": {"replicas": 5}, "metadata": {"labels": {"a": "b"}}},
        ),
        patch(_WEB, {"status": {"collisionCount": 8}}),
    ),
    case("a replacement", post(f"{CORE}/configmaps", _START).quietly(), put(_MAP, config_map(c="3")), get(_MAP)),
    case(
        "a replacement of a stale version",
        post(f"{CORE}/configmaps", _START).quietly(),
        put(_MAP, {**config_map(), "metadata": {"name": "a", "resourceVersion": "1"}}),
    ),
    case("a patch in YAML", Step("PATCH", _MAP, b"data: {}", "application/yaml")),
)
