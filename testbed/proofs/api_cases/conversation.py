"""Lists, pages, watches, deletions, and what the server tells of itself."""

from __future__ import annotations

from testbed.proofs.api_cases.bodies import APPS, CORE, Body, config_map, deployment, labelled, with_metadata
from testbed.proofs.api_cases.case import TABLE, Case, case, delete, get, patch, post, put, watch

_MAPS = f"{CORE}/configmaps"
_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MINE = {"labelSelector": "team"}


def _mine(name: str, **labels: str) -> Body:
    return labelled(config_map(name, key="value"), team="a", **labels)


_FIVE = tuple(post(_MAPS, _mine(f"m{i}", parity="odd" if i % 2 else "even")).quietly() for i in range(5))
_SELECTORS = (
    "parity=odd",
    "parity==odd",
    "parity!=odd",
    "parity in (odd, even)",
    "parity notin (odd)",
    "parity",
    "!parity",
    "nothing!=odd",
    "team=a,parity=even",
)
_KEPT = with_metadata(config_map(), finalizers=["e.io/wait"])
_GONE = {"metadata": {"finalizers": None}}

CASES: tuple[Case, ...] = (
    *(case(f"selected by {text}", *_FIVE, get(_MAPS, labelSelector=f"{text},team")) for text in _SELECTORS),
    case("selected by name", *_FIVE, get(_MAPS, fieldSelector="metadata.name=m3")),
    case("selected by not this name", *_FIVE, get(_MAPS, fieldSelector="metadata.name!=m3", labelSelector="team")),
    case(
        "pages",
        *_FIVE,
        get(_MAPS, limit="2"),
        delete(f"{_MAPS}/m4").quietly(),
        get(_MAPS, limit="2", continue_="{continue}"),
        get(_MAPS, limit="9", continue_="{continue}"),
    ),
    case("pages with a selector", *_FIVE, get(_MAPS, limit="2", **_MINE)),
    case("a table page", *_FIVE, get(_MAPS, TABLE, limit="2")),
    case("a table without objects", *_FIVE, get(_MAPS, TABLE, includeObject="None", **_MINE)),
    case("a table with objects", *_FIVE, get(_MAPS, TABLE, includeObject="Object", **_MINE)),
    case("only the metadata", *_FIVE, get(_MAPS, _ONLY, **_MINE)),
    case("an empty list", get(f"{CORE}/endpoints")),
    case("an object in a table", *_FIVE, get(f"{_MAPS}/m1", TABLE)),
    case(
        "an object's metadata",
        *_FIVE,
        get(f"{_MAPS}/m1", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
    ),
    case(
        "a watch",
        get(_MAPS, **_MINE).quietly(),
        post(_MAPS, _mine("a")).quietly(),
        patch(f"{_MAPS}/a", {"data": {"key": "other"}}).quietly(),
        delete(f"{_MAPS}/a").quietly(),
        watch(_MAPS, **_MINE),
    ),
    case(
        "a watch of what is selected",
        *_FIVE,
        get(_MAPS, **_MINE).quietly(),
        patch(f"{_MAPS}/m1", {"metadata": {"labels": {"parity": "none"}}}).quietly(),
        patch(f"{_MAPS}/m2", {"metadata": {"labels": {"parity": "odd"}}}).quietly(),
        patch(f"{_MAPS}/m3", {"data": {"key": "other"}}).quietly(),
        watch(_MAPS, labelSelector="parity=odd"),
    ),
    case(
        "a watch of one",
        *_FIVE,
        get(_MAPS).quietly(),
        patch(f"{_MAPS}/m1", {"data": {"key": "x"}}).quietly(),
        patch(f"{_MAPS}/m2", {"data": {"key": "x"}}).quietly(),
        watch(_MAPS, fieldSelector="metadata.name=m2"),
    ),
    case(
        "a watch sees no write that changes nothing",
        *_FIVE,
        get(_MAPS).quietly(),
        patch(f"{_MAPS}/m1", {"data": {"key": "value"}}).quietly(),
        watch(_MAPS, **_MINE),
    ),
    case("deletion at once", post(_MAPS, config_map()).quietly(), delete(f"{_MAPS}/a"), get(f"{_MAPS}/a")),
    case(
        "deletion waits for a finalizer",
        post(_MAPS, _KEPT).quietly(),
        delete(f"{_MAPS}/a"),
        delete(f"{_MAPS}/a"),
        patch(f"{_MAPS}/a", _GONE),
        get(f"{_MAPS}/a"),
    ),
    case(
        "no finalizer more while it goes",
        post(_MAPS, _KEPT).quietly(),
        delete(f"{_MAPS}/a").quietly(),
        patch(f"{_MAPS}/a", {"metadata": {"finalizers": ["e.io/wait", "e.io/b"]}}),
        patch(f"{_MAPS}/a", _GONE).quietly(),
    ),
    case(
        "deletion of another UID",
        post(_MAPS, config_map()).quietly(),
        delete(f"{_MAPS}/a", {"preconditions": {"uid": "other"}}),
    ),
    case(
        "deletion of another version",
        post(_MAPS, config_map()).quietly(),
        delete(f"{_MAPS}/a", {"preconditions": {"resourceVersion": "1"}}),
    ),
    case(
        "deletion as a dry run",
        post(_MAPS, config_map()).quietly(),
        delete(f"{_MAPS}/a", dryRun="All"),
        get(f"{_MAPS}/a"),
    ),
    case(
        "deletion with a propagation that is none",
        post(_MAPS, config_map()).quietly(),
        delete(f"{_MAPS}/a", {"propagationPolicy": "Sideways"}),
    ),
    case("deletion of a collection", *_FIVE, delete(_MAPS, labelSelector="parity=odd"), get(_MAPS, **_MINE)),
    case(
        "deletion in the foreground",
        post(f"{APPS}/deployments", deployment(paused=True)).quietly(),
        delete(f"{APPS}/deployments/web", {"propagationPolicy": "Foreground"}),
    ),
    case(
        "the scale",
        post(f"{APPS}/deployments", deployment(paused=True)).quietly(),
        get(f"{APPS}/deployments/web/scale"),
    ),
    case(
        "a new scale",
        post(f"{APPS}/deployments", deployment(paused=True)).quietly(),
        patch(f"{APPS}/deployments/web/scale", {"spec": {"replicas": 0}}),
        patch(f"{APPS}/deployments/web/scale", {"spec": {"replicas": -1}}),
    ),
    case("a scale of what has none", get(f"{_MAPS}/kube-root-ca.crt/scale")),
    case(
        "the namespace",
        get("/api/v1/namespaces/{ns}"),
        put(
            "/api/v1/namespaces/{ns}/finalize",
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": "{ns}"},
                "spec": {"finalizers": ["kubernetes"]},
            },
        ),
    ),
    case("a namespace that may not go", delete("/api/v1/namespaces/default")),
    case("the core versions", get("/api")),
    case("the resources of apps", get("/apis/apps/v1")),
    case("the resources of Istio's security", get("/apis/security.istio.io/v1")),
    case("a group", get("/apis/apps")),
    case("health", get("/readyz"), get("/livez"), get("/healthz")),
)
