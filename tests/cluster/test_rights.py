"""What a rules review says about a person's rights."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.cluster.api_server import ApiServer, Say, Seen, connected

REVIEWS = "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
SINGLE = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

RULES: dict[str, list[dict[str, Any]]] = {
    "shop": [
        {"verbs": ["get", "patch"], "apiGroups": ["apps"], "resources": ["deployments"]},
        {"verbs": ["*"], "apiGroups": ["security.istio.io"], "resources": ["*"]},
        {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/portforward"]},
        {"verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"]},
    ],
    "meshguard-cluster-wide": [{"verbs": ["list"], "apiGroups": ["*"], "resources": ["pods", "namespaces"]}],
}


def missing(tmp_path: Path, server: ApiServer, *wanted: tuple[str, str, str]) -> list[str]:
    async def scenario() -> list[str]:
        async with connected(server, tmp_path) as cluster:
            return list(await cluster.missing_rights(wanted))

    return asyncio.run(scenario())


def reviewing(*, incomplete: bool = False) -> ApiServer:
    def review(seen: Seen) -> Say:
        rules = RULES[seen.body["spec"]["namespace"]]
        return Say(201, {"status": {"resourceRules": rules, "incomplete": incomplete}})

    return ApiServer().on(REVIEWS, review)


def test_one_review_for_each_namespace_tells_all_that_is_missing(tmp_path: Path) -> None:
    server = reviewing()
    assert missing(
        tmp_path,
        server,
        ("patch", "deployments.apps", "shop"),
        ("patch", "statefulsets.apps", "shop"),
        ("delete", "peerauthentications.security.istio.io", "shop"),
        ("patch", "destinationrules.networking.istio.io", "shop"),
        ("create", "pods/portforward", "shop"),
        ("create", "pods", "shop"),
        ("patch", "configmaps", "shop"),
        ("list", "pods", ""),
        ("patch", "namespaces", ""),
    ) == [
        "patch namespaces in the whole cluster",
        "patch configmaps in shop",
        "patch destinationrules.networking.istio.io in shop",
        "create pods in shop",
        "patch statefulsets.apps in shop",
    ]
    assert len(server.seen) == 2


def test_an_authorizer_that_cannot_list_its_rules_is_asked_right_by_right(tmp_path: Path) -> None:
    def single(seen: Seen) -> Say:
        attributes = seen.body["spec"]["resourceAttributes"]
        return Say(201, {"status": {"allowed": attributes["resource"] == "statefulsets"}})

    server = reviewing(incomplete=True).on(SINGLE, single)
    wanted = [("patch", f"{kind}.apps", "shop") for kind in ("deployments", "statefulsets", "daemonsets")]
    assert missing(tmp_path, server, *wanted) == ["patch daemonsets.apps in shop"]
    assert len(server.requests()) == 3
