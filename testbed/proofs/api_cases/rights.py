"""Who may do what: answers to people without rights, reviews, impersonation."""

from __future__ import annotations

from dataclasses import replace

from testbed.proofs.api_cases.bodies import APPS, CORE, RBAC, Body, config_map, deployment, thing
from testbed.proofs.api_cases.case import Case, Step, case, delete, get, patch, post

_AUTH = "/apis/authorization.k8s.io/v1"
_ROLE = thing(
    "rbac.authorization.k8s.io/v1",
    "Role",
    rules=[{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"], "resourceNames": ["a"]}],
)
_BINDING = thing(
    "rbac.authorization.k8s.io/v1",
    "RoleBinding",
    roleRef={"kind": "Role", "name": "a", "apiGroup": "rbac.authorization.k8s.io"},
    subjects=[{"kind": "User", "name": "stranger"}],
)


def _review(verb: str, resource: str, group: str = "", **more: str) -> Body:
    attributes = {"verb": verb, "resource": resource, "group": group, **more}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def _as(step: Step, *headers: tuple[str, str]) -> Step:
    return replace(step, headers=tuple((f"Impersonate-{name}", value) for name, value in headers))


_ASKED = (
    ("list pods", _review("list", "pods", namespace="{ns}")),
    ("delete pods", _review("delete", "pods", namespace="{ns}")),
    ("read secrets", _review("get", "secrets", namespace="{ns}")),
    ("list nodes", _review("list", "nodes")),
    ("read logs", _review("get", "pods", subresource="log", namespace="{ns}")),
    ("list rules of Istio", _review("list", "destinationrules", "networking.istio.io")),
)

CASES: tuple[Case, ...] = (
    *(
        case(f"may {person} {name}", post(f"{_AUTH}/selfsubjectaccessreviews", body).by(person))
        for name, body in _ASKED
        for person in ("viewer", "stranger")
    ),
    case("refused: a list", get(f"{CORE}/pods").by("stranger")),
    case("refused: a list in the whole cluster", get("/api/v1/pods").by("stranger")),
    case("refused: an object", get(f"{CORE}/configmaps/a").by("stranger")),
    case("refused: a creation", post(f"{CORE}/configmaps", config_map()).by("viewer")),
    case("refused: a patch", patch(f"{APPS}/deployments/web", {}).by("viewer")),
    case("refused: a deletion", delete(f"{APPS}/deployments/web").by("viewer")),
    case("refused: a deletion of a collection", delete(f"{APPS}/deployments").by("viewer")),
    case("refused: a subresource", patch(f"{APPS}/deployments/web/scale", {}).by("viewer")),
    case("refused: a namespace", get("/api/v1/namespaces/{ns}").by("stranger")),
    case("refused: a path", get("/metrics").by("stranger")),
    case("refused: a list of secrets", get(f"{CORE}/secrets").by("viewer")),
    case("allowed: what everybody may", get("/apis/apps").by("stranger")),
    case(
        "a role for one object",
        post(f"{RBAC}/roles", _ROLE).quietly(),
        post(f"{RBAC}/rolebindings", _BINDING).quietly(),
        post(f"{CORE}/configmaps", config_map()).quietly(),
        post(f"{CORE}/configmaps", config_map("b")).quietly(),
        get(f"{CORE}/configmaps/a").by("stranger"),
        get(f"{CORE}/configmaps/b").by("stranger"),
        get(f"{CORE}/configmaps").by("stranger"),
    ),
    case("in the name of a stranger", _as(get(f"{CORE}/pods"), ("User", "jane"))),
    case(
        "in the name of a master",
        _as(get(f"{CORE}/serviceaccounts/none"), ("User", "jane"), ("Group", "system:masters")),
    ),
    case("in somebody's name without the right", _as(get(f"{CORE}/pods").by("viewer"), ("User", "jane"))),
    case(
        "in a group's name without the right", _as(get(f"{CORE}/pods").by("viewer"), ("User", "viewer"), ("Group", "g"))
    ),
    case("in the name of a service account", _as(get(f"{CORE}/pods"), ("User", "system:serviceaccount:{ns}:default"))),
    case(
        "who am I",
        post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
        ).by("viewer"),
    ),
    case(
        "a review of nothing",
        post(
            f"{_AUTH}/selfsubjectaccessreviews",
            {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}},
        ),
    ),
    case(
        "a review of somebody else",
        post(
            f"{_AUTH}/subjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": "jane", "resourceAttributes": {"verb": "get", "resource": "pods"}},
            },
        ),
    ),
    case("a deployment by a viewer as a dry run", post(f"{APPS}/deployments", deployment(), dryRun="All").by("viewer")),
)
