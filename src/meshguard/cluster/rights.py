"""What this person may do, by one rules review per namespace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from meshguard.cluster.concurrency import all_of
from meshguard.cluster.requests import Requests
from meshguard.model.rights import Needed, split_resource

#: A rules review needs a namespace. No role is bound in one that nobody has, so only cluster-wide rules come back.
_NOWHERE = "meshguard-cluster-wide"
_API = "/apis/authorization.k8s.io/v1"


async def missing_rights(requests: Requests, wanted: Collection[Needed]) -> Sequence[str]:
    """Return those of `wanted` that the person lacks, as sentences: `patch deployments.apps in shop-web`.

    Raises Unreachable or Forbidden.
    """
    lacking = await lacking_rights(requests, wanted)
    return [_sentence(right) for right in sorted(lacking, key=lambda right: (right[2], right[1], right[0]))]


async def lacking_rights(requests: Requests, wanted: Collection[Needed]) -> frozenset[Needed]:
    """Return those of `wanted` that the person lacks.

    Rules that are restricted to certain object names do not count. Where an authorizer cannot list its rules
    (webhooks of cloud providers), what seems to be missing is asked right by right.
    Raises Unreachable or Forbidden.
    """
    by_namespace: dict[str, list[Needed]] = defaultdict(list)
    for right in sorted(set(wanted)):
        by_namespace[right[2]].append(right)
    reviews = await all_of(_review(requests, namespace) for namespace in by_namespace)
    missing: list[Needed] = []
    doubtful: list[Needed] = []
    for review, rights in zip(reviews, by_namespace.values(), strict=True):
        lacking = [right for right in rights if not _granted(review, right)]
        (doubtful if review.get("incomplete") else missing).extend(lacking)
    answers = await all_of(_allowed(requests, right) for right in doubtful)
    missing += [right for right, allowed in zip(doubtful, answers, strict=True) if not allowed]
    return frozenset(missing)


async def _review(requests: Requests, namespace: str) -> Mapping[str, Any]:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace or _NOWHERE},
    }
    document = await requests.write("POST", f"{_API}/selfsubjectrulesreviews", body, harmless=True)
    return document["status"]  # type: ignore[no-any-return]


async def _allowed(requests: Requests, right: Needed) -> bool:
    verb, resource, namespace = right
    plural, group, subresource = split_resource(resource)
    attributes = {
        "verb": verb,
        "group": group,
        "resource": plural,
        "subresource": subresource,
        "namespace": namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    document = await requests.write("POST", f"{_API}/selfsubjectaccessreviews", body, harmless=True)
    return bool(document["status"].get("allowed"))


def _granted(review: Mapping[str, Any], right: Needed) -> bool:
    verb, resource, _ = right
    plural, group, subresource = split_resource(resource)
    names = {"*", f"{plural}/{subresource}", f"*/{subresource}"} if subresource else {"*", plural}
    return any(
        not rule.get("resourceNames")
        and not {"*", verb}.isdisjoint(rule.get("verbs") or ())
        and not {"*", group}.isdisjoint(rule.get("apiGroups") or ())
        and not names.isdisjoint(rule.get("resources") or ())
        for rule in review.get("resourceRules") or ()
    )


def _sentence(right: Needed) -> str:
    verb, resource, namespace = right
    return f"{verb} {resource} in {namespace}" if namespace else f"{verb} {resource} in the whole cluster"
