"""Answers: an object, a list, a table, a Status, or a stream of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from meshguard.sim.api.negotiation import As, Form
from meshguard.sim.api.pods.portforward import Tunnel
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.status import ApiError, Doc, not_acceptable
from meshguard.sim.api.store import Entry, encoded
from meshguard.sim.api.tables.table import table

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    stream: AsyncIterator[bytes] | None = None
    """Instead of a body: it ends when it ends, or with the connection."""
    upgrade: Tunnel | None = None
    """Instead of a body: speaks over a WebSocket."""
    later: Callable[[], Awaitable[Response]] | None = None
    """Instead of all this: waits for what somebody else says."""


def plain(text: str, status: int = 200) -> Response:
    """A text."""
    return Response(status, text.encode(), "text/plain; charset=utf-8")


def document(doc: Any, form: Form, status: int = 200, warnings: Sequence[str] = ()) -> Response:
    """A document that belongs to no resource."""
    if form.media == "application/yaml":
        return Response(status, yaml.safe_dump(doc).encode(), "application/yaml", warnings=warnings)
    return Response(status, encoded(doc), warnings=warnings)


def error(problem: ApiError) -> Response:
    """A refusal."""
    return Response(problem.code, encoded(problem.body()), headers=problem.headers)


def whole(resource: Resource, entry: Entry) -> bytes:
    """An object as JSON, in the version of the resource."""
    return b'{"kind":"%s","apiVersion":"%s",' % (resource.kind.encode(), resource.api_version.encode()) + entry.json[1:]


def one(
    resource: Resource,
    entry: Entry,
    form: Form,
    now: str,
    include: str,
    status: int = 200,
    warnings: Sequence[str] = (),
) -> Response:
    """An object in the form that somebody wants."""
    match form.as_:
        case As.TABLE:
            metadata = {"resourceVersion": entry.doc["metadata"].get("resourceVersion", "")}
            return document(table(resource, [entry.doc], metadata, now, include), form, status, warnings)
        case As.METADATA:
            return document(metadata_only(entry.doc), form, status, warnings)
        case As.METADATA_LIST:
            raise not_acceptable((JSON,))
    if form.media == JSON:
        return Response(status, whole(resource, entry), warnings=warnings)
    return document({"kind": resource.kind, "apiVersion": resource.api_version, **entry.doc}, form, status, warnings)


def many(resource: Resource, entries: Sequence[Entry], metadata: Doc, form: Form, now: str, include: str) -> Response:
    """A list in the form that somebody wants."""
    match form.as_:
        case As.TABLE:
            return document(table(resource, (e.doc for e in entries), metadata, now, include), form)
        case As.METADATA_LIST:
            items = [metadata_only(entry.doc) for entry in entries]
            header = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
            return document({**header, "items": items}, form)
        case As.METADATA:
            raise not_acceptable((JSON,))
    head = encoded({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata})[:-1]
    if resource.custom is None:
        items_json = b",".join(entry.json for entry in entries)
    else:
        items_json = b",".join(whole(resource, entry) for entry in entries)
    if form.media == JSON:
        return Response(200, b'%s,"items":[%s]}' % (head, items_json))
    header = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata}
    return document({**header, "items": [entry.doc for entry in entries]}, form)


def metadata_only(doc: Doc) -> Doc:
    """An object without its body."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": doc["metadata"]}
