"""The server without its sockets: from a request to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from meshguard.sim.api import discovery, reading, responses, subresources, writing
from meshguard.sim.api.audit import Audit
from meshguard.sim.api.authorization import Authorizer
from meshguard.sim.api.identity import User
from meshguard.sim.api.negotiation import Form, negotiate
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.pods.entrance import Entrance
from meshguard.sim.api.requests import Request, Target, target_of
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.responses import Response
from meshguard.sim.api.reviews import Reviews
from meshguard.sim.api.status import ApiError, forbidden, method_not_allowed, unknown_resource
from meshguard.sim.pods import Ports

Handler = Callable[[Objects, Resource, Request, Target, Form], Response]
_VERBS: Mapping[str, Handler] = {
    "list": reading.list_,
    "watch": reading.watch,
    "create": writing.create,
    "update": writing.update,
    "patch": writing.patch,
    "delete": writing.delete,
    "deletecollection": writing.delete_collection,
}
_DEPRECATED = {("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
_HEALTH = ("/healthz", "/livez", "/readyz")


class Api:
    """Answers requests."""

    def __init__(
        self, objects: Objects, authorizer: Authorizer, ports: Ports | None = None, audit: Audit | None = None
    ) -> None:
        self.objects, self.authorizer, self.audit = objects, authorizer, audit
        self._entrance = Entrance(objects, authorizer, ports or Ports())
        self._reviews = Reviews(authorizer, objects.clock)
        self.address = ""

    def answer(self, request: Request) -> Response:
        """Answer a request; a refusal is an answer as well."""
        target, asker, began = target_of(request), request.user, self.objects.clock.wall()
        try:
            request = replace(request, user=self.authorizer.impersonated(asker, request.impersonation, target))
            response = self._answer(request, target)
        except ApiError as problem:
            response = responses.error(problem)
        warning = _DEPRECATED.get((target.group, target.plural))
        if warning:
            response = replace(response, warnings=(*response.warnings, warning))
        return self._audited(response, lambda told: self._record(request, target, told, asker, began))

    def _audited(self, response: Response, record: Callable[[Response], None]) -> Response:
        """Record an answer, once it is known."""
        later = response.later
        if later is None:
            record(response)
            return response

        async def told() -> Response:
            answer = await later()
            record(answer)
            return answer

        return replace(response, later=told)

    def _record(self, request: Request, target: Target, response: Response, asker: User, began: str) -> None:
        if self.audit is not None:
            self.audit.record(request, target, response, asker, began)

    def _answer(self, request: Request, target: Target) -> Response:
        refused = self.authorizer.refusal(request, target)
        if refused:
            if not target.is_resource:
                raise ApiError(403, "Forbidden", f"forbidden: {refused}", {})
            raise forbidden(target.group, target.plural, target.name, refused)
        if not target.is_resource:
            return self._non_resource(request)
        registry = self.objects.registry
        resource = registry.find(target.group, target.version, target.plural)
        if resource is None:
            if target.group and target.group not in registry.groups():
                return responses.plain("404 page not found\n", 404)
            raise unknown_resource()
        if bool(target.namespace) and not resource.namespaced:
            raise unknown_resource()
        if target.subresource:
            subresources.check(resource, request, target)
            if self._entrance.leads(resource, target):
                return self._entrance.answer(resource, request, target)
            return subresources.answer(self.objects, resource, request, target)
        return self._resource(resource, request, target)

    def _resource(self, resource: Resource, request: Request, target: Target) -> Response:
        of_one = target.verb in ("get", "update", "patch", "delete")
        if target.verb not in resource.verbs or of_one != bool(target.name):
            raise method_not_allowed()
        if resource.namespaced and not target.namespace and target.verb not in ("list", "watch"):
            if target.name:
                raise unknown_resource()
            raise method_not_allowed()
        form = negotiate(request.headers.get("accept", ""))
        if target.verb == "get":
            if request.flag("watch"):
                return reading.watch(self.objects, resource, request, target, form)
            entry = self.objects.get(resource, target.namespace, target.name)
            return responses.one(resource, entry, form, self.objects.now(), reading.include_of(request))
        if Reviews.are(resource):
            return self._reviews.answer(resource, request, target, form)
        return _VERBS[target.verb](self.objects, resource, request, target, form)

    def _non_resource(self, request: Request) -> Response:
        path = request.path.rstrip("/") or "/"
        registry = self.objects.registry
        if path.startswith(_HEALTH):
            return responses.plain("ok")
        if path == "/openapi/v2":
            return Response(200, discovery.EMPTY_OPENAPI_V2, discovery.OPENAPI_V2)
        form = negotiate(request.headers.get("accept", ""))
        doc = None
        parts = path.strip("/").split("/")
        match parts:
            case ["version"]:
                doc = dict(discovery.VERSION)
            case ["api"]:
                core = discovery.core_versions(self.address)
                doc = discovery.aggregated(registry, core=True) if form.aggregated else core
            case ["apis"]:
                groups = discovery.group_list
                doc = discovery.aggregated(registry, core=False) if form.aggregated else groups(registry)
            case ["api", version]:
                doc = discovery.resource_list(registry, "", version)
            case ["apis", group]:
                doc = discovery.group(registry, group)
            case ["apis", group, version]:
                doc = discovery.resource_list(registry, group, version)
            case ["openapi", "v3"]:
                doc = discovery.openapi_index(registry)
            case ["openapi", "v3", "api", version]:
                doc = discovery.openapi(registry, "", version)
            case ["openapi", "v3", "apis", group, version]:
                doc = discovery.openapi(registry, group, version)
        if doc is None:
            return responses.plain("404 page not found\n", 404)
        answer = responses.document(doc, form)
        if form.aggregated:
            kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return Response(200, answer.body, kind)
        return answer
