"""What the API server says when it refuses: a Status with a code, a reason and a sentence.

The wording is that of `k8s.io/apimachinery/pkg/api/errors` and `pkg/util/validation/field`; kubectl prints it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Doc = dict[str, Any]


@dataclass
class ApiError(Exception):
    """A refusal, as the server sends it."""

    code: int
    reason: str
    message: str
    details: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> Doc:
        """The Status document."""
        out: Doc = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        if self.reason:
            out["reason"] = self.reason
        if self.details is not None:
            out["details"] = dict(self.details)
        return {**out, "code": self.code}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field of an object."""

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    def cause(self) -> Doc:
        """Its place in the details of a Status."""
        return {"reason": self.reason, "message": self.message, "field": self.path}


def required(path: str, detail: str = "") -> FieldError:
    """A field that must be there is not."""
    return FieldError(path, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))


def invalid_value(path: str, value: Any, detail: str) -> FieldError:
    """A field holds what it may not hold."""
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}")


def unsupported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    """A field holds none of the values that it may hold."""
    words = ", ".join(json.dumps(word) for word in supported)
    return FieldError(path, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {words}")


def forbidden_field(path: str, detail: str) -> FieldError:
    """A field may not be set, or not be changed."""
    return FieldError(path, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(path: str, value: Any) -> FieldError:
    """An element of a list is there twice."""
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def shown(value: Any) -> str:
    """A value as Go prints it in a validation error."""
    if value is None:
        return "null"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def qualified(group: str, name: str) -> str:
    """`deployments.apps`, `pods`: a resource or a kind with its group."""
    return f"{name}.{group}" if group else name


def _details(group: str, kind: str, name: str = "", **more: Any) -> Doc:
    named = {"name": name} if name else {}
    grouped = {"group": group} if group else {}
    return {**named, **grouped, "kind": kind, **more}


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: nobody knows who asks."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> ApiError:
    """403 for a resource; `why` follows the words `is forbidden`."""
    subject = f'{qualified(group, plural)} "{name}"' if name else qualified(group, plural)
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(group, plural, name))


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404 for an object."""
    message = f'{qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(group, plural, name))


def unknown_resource() -> ApiError:
    """404 for a resource that the server does not have."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    """405: the resource is there, the verb is not."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """409 for a name that is taken."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    """409 for an object that somebody else has changed."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(group, plural, name))


def expired(message: str) -> ApiError:
    """410: the version that is asked for is not kept any more."""
    return ApiError(410, "Expired", message)


def unsupported_media_type(wanted: Sequence[str]) -> ApiError:
    """415."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(wanted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable(wanted: Sequence[str]) -> ApiError:
    """406."""
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(wanted)}"
    return ApiError(406, "NotAcceptable", message, {})


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422: the object is understood, and is wrong."""
    words = [str(error) for error in dict.fromkeys(errors)]
    text = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    causes = [error.cause() for error in errors]
    message = f'{qualified(group, kind)} "{name}" is invalid: {text}'
    details = _details(group, kind, name, causes=causes)
    if not kind:
        details = {"causes": causes, **({"group": group} if group else {})}
    return ApiError(422, "Invalid", message, details)


def service_unavailable(message: str) -> ApiError:
    """503: what is behind the server does not answer."""
    return ApiError(503, "ServiceUnavailable", message)


def too_many_requests(message: str, seconds: int, **details: Any) -> ApiError:
    """429, with the time after which to come again."""
    return ApiError(429, "TooManyRequests", message, details or None, {"Retry-After": str(seconds)})
