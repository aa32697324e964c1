"""The audit log: one line of JSON for each request that is through. Source: `audit.k8s.io/v1`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from meshguard.ports import Clock
from meshguard.sim.api.identity import User
from meshguard.sim.api.requests import Request, Target
from meshguard.sim.api.responses import Response

Write = Callable[[str], Any]


class Audit:
    """Writes events."""

    def __init__(self, clock: Clock, write: Write) -> None:
        self._clock, self._write = clock, write

    def record(self, request: Request, target: Target, response: Response, asker: User, began: str) -> None:
        """Write down a request and how it was answered; `asker` is who sent it, whoever he speaks for."""
        event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": str(uuid.uuid4()),
            "stage": "ResponseComplete",
            "requestURI": request.path + (f"?{request.query_string}" if request.query_string else ""),
            "verb": target.verb,
            "user": _user(asker),
            "sourceIPs": ["127.0.0.1"],
            "userAgent": request.headers.get("user-agent", ""),
            "responseStatus": {"metadata": {}, "code": response.status},
            "requestReceivedTimestamp": began,
            "stageTimestamp": self._clock.wall(),
        }
        if request.user is not asker:
            event["impersonatedUser"] = _user(request.user)
        if target.is_resource:
            named = {
                "resource": target.plural,
                "namespace": target.namespace,
                "name": target.name,
                "apiGroup": target.group,
                "apiVersion": target.version,
                "subresource": target.subresource,
            }
            event["objectRef"] = {key: value for key, value in named.items() if value}
        self._write(json.dumps(event, separators=(",", ":")) + "\n")


def _user(user: User) -> dict[str, Any]:
    extra = {key: list(values) for key, values in user.extra.items()}
    return {"username": user.name, "groups": list(user.groups), **({"extra": extra} if extra else {})}
