"""A request, and what it asks for. Source: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import yaml

from meshguard.sim.api import protobuf
from meshguard.sim.api.codec import FieldValidation
from meshguard.sim.api.identity import ANONYMOUS, User
from meshguard.sim.api.status import ApiError, bad_request, invalid, unsupported, unsupported_media_type

LARGEST_BODY = 3 * 1024 * 1024
_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OWN_SUBRESOURCES = ("status", "finalize")
JSON, YAML = "application/json", "application/yaml"


@dataclass(frozen=True)
class Request:
    """A request as it came, without a server around it."""

    method: str
    path: str
    query_string: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By their names in lower case."""
    body: bytes = b""
    user: User = ANONYMOUS
    impersonation: Sequence[tuple[str, str]] = ()
    """The headers that name somebody else, in their order: groups are named by several."""

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters; of one that is given twice the first counts."""
        out: dict[str, str] = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True):
            out.setdefault(name, value)
        return out

    def flag(self, name: str) -> bool:
        """Whether a boolean parameter is set. Raises ApiError (400)."""
        value = self.query.get(name)
        if value is None:
            return False
        return value not in ("false", "0", "False")

    @property
    def content_type(self) -> str:
        """The type of the body, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows in the path: of a proxy, the path on the other side."""

    @property
    def is_resource(self) -> bool:
        """False for discovery, health and the like."""
        return bool(self.plural)


def target_of(request: Request) -> Target:
    """Read the path of a request."""
    parts = [part for part in request.path.split("/") if part]
    verb = request.method.lower()
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Target(verb, request.path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _OWN_SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    verb = _VERBS.get(request.method, verb)
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
        if verb == "list" and request.flag("watch"):
            verb = "watch"
    if rest[2:3] == ["proxy"]:
        beyond = request.path.partition("/proxy")[2].removeprefix("/")
        return Target(verb, request.path, group, version, namespace, rest[0], name, "proxy", beyond)
    return Target(verb, request.path, group, version, namespace, rest[0], name, "/".join(rest[2:]))


def field_validation(request: Request) -> FieldValidation:
    """What to do about unknown fields. Raises ApiError (422)."""
    text = request.query.get("fieldValidation", "")
    try:
        return FieldValidation(text or "Warn")
    except ValueError:
        wrong = [unsupported("fieldValidation", text, ["", "Ignore", "Strict", "Warn"])]
        raise invalid("meta.k8s.io", "CreateOptions", "", wrong) from None


def is_dry_run(request: Request) -> bool:
    """Whether nothing shall be kept. Raises ApiError (422) for a word that is not `All`."""
    text = request.query.get("dryRun")
    if text not in (None, "", "All"):
        kind = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}.get(
            request.method, "DeleteOptions"
        )
        raise invalid("meta.k8s.io", kind, "", [unsupported("dryRun", [text], ["All"])])
    return text == "All"


_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


def document(request: Request, accepted: Sequence[str] = (JSON, YAML), kind_wanted: str = "") -> tuple[Any, list[str]]:
    """Parse the body: the document, and the fields that stand in it twice. Raises ApiError (400, 413, 415)."""
    if len(request.body) > LARGEST_BODY:
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {LARGEST_BODY}")
    kind = request.content_type or JSON
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.decode(request.body), []
    if kind not in accepted:
        raise unsupported_media_type((*accepted, protobuf.MEDIA_TYPE))
    if kind.endswith("yaml"):
        return parse_yaml(request.body), []
    return parse_object(request.body, kind_wanted) if kind_wanted else parse_json(request.body)


def parse_yaml(text: bytes) -> Any:
    """Parse YAML. Raises ApiError (400)."""
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from error


def parse_json(text: bytes) -> tuple[Any, list[str]]:
    """Parse JSON: the document, and the fields that stand in it twice. Raises ApiError (400)."""
    duplicates: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(found)
        if len(out) != len(found):
            names = [name for name, _ in found]
            duplicates.extend(name for name in out if names.count(name) > 1)
        return out

    try:
        return json.loads(text, object_pairs_hook=pairs), duplicates
    except (ValueError, RecursionError) as error:
        raise bad_request(_go_words(text, error)) from error


def parse_object(text: bytes, kind: str) -> tuple[Any, list[str]]:
    """Parse JSON that shall be an object of a kind. Raises ApiError (400)."""
    words, shown = "", text.hex() if len(text) < 64 and text[:1] != b"{" else text.decode(errors="replace")
    try:
        found, duplicates = parse_json(text)
        if isinstance(found, dict):
            return found, duplicates
        words = (
            f"json: cannot unmarshal {'array' if isinstance(found, list) else 'string'} into Go value of type {_META}"
        )
    except ApiError as error:
        words = error.message
    why = f"couldn't get version/kind; json parse error: {words} ({shown or '<empty>'})"
    raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {why}")


def _go_words(text: bytes, error: Exception) -> str:
    if (
        not text.strip()
        or not isinstance(error, json.JSONDecodeError)
        or error.pos >= len(text.decode(errors="replace"))
    ):
        return "unexpected end of JSON input"
    character = text.decode(errors="replace")[error.pos]
    return f"invalid character '{character}' looking for beginning of value"
