"""Reviews: resources that are questions. Source: `pkg/registry/authorization` and `authentication` of Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshguard.ports import Clock
from meshguard.sim.api import responses
from meshguard.sim.api.authorization import Action, Authorizer
from meshguard.sim.api.codec import decode
from meshguard.sim.api.identity import User
from meshguard.sim.api.negotiation import Form
from meshguard.sim.api.requests import Request, Target, document
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.responses import Response
from meshguard.sim.api.status import Doc, bad_request, invalid, invalid_value

_GROUPS = ("authorization.k8s.io", "authentication.k8s.io")


class Reviews:
    """Answers questions."""

    def __init__(self, authorizer: Authorizer, clock: Clock) -> None:
        self._authorizer, self._clock = authorizer, clock

    @staticmethod
    def are(resource: Resource) -> bool:
        """Tell whether a resource is a question."""
        return resource.group in _GROUPS

    def answer(self, resource: Resource, request: Request, target: Target, form: Form) -> Response:
        """Answer. Raises ApiError."""
        body, _ = document(request)
        doc, _ = decode(resource, body)
        answers: Mapping[str, Callable[[Doc, Request, Target], Doc]] = {
            "SelfSubjectAccessReview": self._self_access,
            "SubjectAccessReview": self._access,
            "LocalSubjectAccessReview": self._local_access,
            "SelfSubjectRulesReview": self._rules,
            "SelfSubjectReview": self._self,
        }
        handler = answers.get(resource.kind)
        if handler is None:
            raise bad_request(f"the flight simulator does not answer a {resource.kind}")
        doc = {**doc, "metadata": doc.get("metadata", {}), "status": handler(doc, request, target)}
        if resource.kind == "SelfSubjectReview":
            doc["metadata"] = {"creationTimestamp": self._clock.wall()[:19] + "Z"}
        header = {"kind": resource.kind, "apiVersion": resource.api_version}
        return responses.document({**header, **doc}, form, 201)

    def _self_access(self, doc: Doc, request: Request, target: Target) -> Doc:
        return self._decide(request.user, doc["spec"], "SelfSubjectAccessReview")

    def _access(self, doc: Doc, request: Request, target: Target) -> Doc:
        spec = doc["spec"]
        if not spec.get("user") and not spec.get("groups"):
            wrong = [invalid_value("spec.user", "", "at least one of user or group must be specified")]
            raise invalid("authorization.k8s.io", "SubjectAccessReview", "", wrong)
        user = User(spec.get("user", ""), tuple(spec.get("groups", ())), spec.get("uid", ""))
        return self._decide(user, spec, "SubjectAccessReview")

    def _local_access(self, doc: Doc, request: Request, target: Target) -> Doc:
        namespace = (doc["spec"].get("resourceAttributes") or {}).get("namespace")
        if namespace != target.namespace:
            wrong = [invalid_value("spec.resourceAttributes.namespace", namespace, "must match metadata.namespace")]
            raise invalid("authorization.k8s.io", "LocalSubjectAccessReview", "", wrong)
        return self._access(doc, request, target)

    def _decide(self, user: User, spec: Doc, kind: str) -> Doc:
        asked = spec.get("resourceAttributes")
        other = spec.get("nonResourceAttributes")
        if (asked is None) == (other is None):
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            wrong = [invalid_value("spec.resourceAttributes", asked, why)]
            raise invalid("authorization.k8s.io", "", "", wrong)
        if asked is not None:
            names = ("verb", "group", "resource", "subresource", "namespace", "name")
            action = Action(*(asked.get(name, "") for name in names))
        else:
            assert other is not None
            action = Action(other.get("verb", ""), path=other.get("path", "/"))
        allowed = self._authorizer.allows(user, action)
        reason = self._authorizer.why(user, action)
        return {"allowed": allowed, **({"reason": reason} if reason else {})}

    def _rules(self, doc: Doc, request: Request, target: Target) -> Doc:
        namespace = doc["spec"].get("namespace")
        if not namespace:
            raise bad_request("no namespace on request")
        resource_rules: list[Any] = []
        other_rules: list[Any] = []
        everything = [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ]
        found = [rule for rule, _ in self._authorizer.rules(request.user, namespace)]
        for rule in [*(everything if request.user.is_master and not found else ()), *found]:
            if rule.get("nonResourceURLs"):
                other_rules.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
            if rule.get("resources"):
                names = {"resourceNames": rule["resourceNames"]} if rule.get("resourceNames") else {}
                kept = {"verbs": rule["verbs"], "apiGroups": rule["apiGroups"], "resources": rule["resources"]}
                resource_rules.append({**kept, **names})
        return {"resourceRules": resource_rules, "nonResourceRules": other_rules, "incomplete": False}

    def _self(self, doc: Doc, request: Request, target: Target) -> Doc:
        user = request.user
        info: Doc = {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            info["uid"] = user.uid
        if user.extra:
            info["extra"] = {key: list(values) for key, values in user.extra.items()}
        return {"userInfo": info}
