"""The sub-resources through which requests reach pods: `portforward` and `proxy`."""

from __future__ import annotations

from collections.abc import Callable

from meshguard.sim.api import responses
from meshguard.sim.api.authorization import Action, Authorizer
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.pods import places, portforward
from meshguard.sim.api.requests import Request, Target
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.responses import Response
from meshguard.sim.api.status import Doc, bad_request, forbidden, service_unavailable
from meshguard.sim.pods import Asked, Ports, Responder

_PORTFORWARD, _PROXY = "portforward", "proxy"


class Entrance:
    """Hands requests to what listens in the pods."""

    def __init__(self, objects: Objects, authorizer: Authorizer, ports: Ports) -> None:
        self._objects, self._authorizer, self._ports = objects, authorizer, ports

    @staticmethod
    def leads(resource: Resource, target: Target) -> bool:
        """Whether a request goes into a pod."""
        return not resource.group and (resource.plural, target.subresource) in (
            ("pods", _PORTFORWARD),
            ("pods", _PROXY),
            ("services", _PROXY),
        )

    def answer(self, resource: Resource, request: Request, target: Target) -> Response:
        """Let a request in. Raises ApiError."""
        if target.subresource == _PORTFORWARD:
            return self._forward(resource, request, target)
        find = places.of_pod if resource.plural == "pods" else places.of_service
        pod, port = find(self._objects, resource, target.namespace, target.name)
        respond = self._connect(pod)(port)
        if respond is None:
            address = f"{pod['status'].get('podIP', '')}:{port}"
            raise service_unavailable(f"error trying to reach service: dial tcp {address}: connect: connection refused")
        return Response(200, later=lambda: _proxied(request, target, respond))

    def _forward(self, resource: Resource, request: Request, target: Target) -> Response:
        self._require_create(request, target)
        pod = self._objects.get(resource, target.namespace, target.name).doc
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {target.name} does not have a host assigned")
        portforward.check_protocol(dict(request.headers))
        ports = portforward.ports_of(request.query_string)
        return Response(101, upgrade=portforward.tunnel(f"{target.namespace}/{target.name}", ports, self._connect(pod)))

    def _require_create(self, request: Request, target: Target) -> None:
        """A WebSocket is opened by GET, and needs the right to create as well (since Kubernetes 1.35)."""
        action = Action("create", "", target.plural, target.subresource, target.namespace, target.name)
        if not self._authorizer.allows(request.user, action):
            raise forbidden("", target.plural, target.name, action.refusal(request.user))

    def _connect(self, pod: Doc) -> Callable[[int], Responder | None]:
        metadata = pod["metadata"]

        def current() -> Doc | None:
            entry = self._objects.store.get("pods", metadata["namespace"], metadata["name"])
            return entry.doc if entry is not None and entry.doc["metadata"]["uid"] == metadata["uid"] else None

        def connect(port: int) -> Responder | None:
            found = current()
            if found is None or found["status"].get("phase") != "Running":
                return None
            respond = self._ports.responder(found, port)
            return respond and portforward.as_long_as(lambda: current() is not None, respond)

        return connect


async def _proxied(request: Request, target: Target, respond: Responder) -> Response:
    asked = Asked(request.method, f"/{target.rest}", request.query_string, request.headers, request.body)
    try:
        said = await respond(asked)
    except ConnectionError as error:
        return responses.error(service_unavailable(f"error trying to reach service: {error}"))
    return Response(said.status, said.body, said.content_type)
