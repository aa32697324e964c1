"""Lists, single objects and watches. Source: `k8s.io/apiserver/pkg/endpoints/handlers/get.go` and `watch.go`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from meshguard.sim.api import responses
from meshguard.sim.api.negotiation import As, Form
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.requests import Request, Target
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.responses import Response
from meshguard.sim.api.selectors import Predicate, field_predicate, label_predicate
from meshguard.sim.api.status import ApiError, Doc, bad_request, expired
from meshguard.sim.api.store import Change, Entry, Event, Key, Subscription, encoded
from meshguard.sim.api.tables import table

BOOKMARK_S = 60.0
_TIMEOUT_S = 1800.0
_END = "k8s.io/initial-events-end"
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What somebody wants to see of a collection."""

    namespace: str
    labels: Predicate
    fields: Predicate
    selective: bool
    """Whether a selector was given."""

    @classmethod
    def of(cls, resource: Resource, request: Request, target: Target) -> Filter:
        """Read the selectors of a request. Raises ApiError (400)."""
        query = request.query
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        if target.name:
            fields = f"metadata.name={target.name}"
        selectable = tuple(
            field["jsonPath"].removeprefix(".") for field in (resource.custom or {}).get("selectableFields", ())
        )
        predicate = field_predicate(fields, resource.storage, resource.kind, selectable)
        return cls(target.namespace, label_predicate(labels), predicate, bool(labels or fields))

    def wants(self, entry: Entry | None) -> bool:
        """Tell whether an object is wanted."""
        if entry is None or (self.namespace and entry.key[0] != self.namespace):
            return False
        return not self.selective or (self.labels(entry.doc) and self.fields(entry.doc))


def include_of(request: Request) -> str:
    """How much of each object the rows of a table shall carry. Raises ApiError (400)."""
    text = request.query.get("includeObject", "Metadata")
    if text not in ("None", "Metadata", "Object"):
        raise bad_request(f"unrecognized includeObject value: {text}")
    return text


def version_of(request: Request) -> int:
    """The resource version of a request; 0 when any will do. Raises ApiError (400)."""
    text = request.query.get("resourceVersion", "")
    if not text:
        return 0
    if not text.isdigit():
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: resourceVersion: {why}")
    return int(text)


def list_(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """Answer a list, whole or page by page. Raises ApiError."""
    wanted, store = Filter.of(resource, request, target), objects.store
    limit, token, match = (
        _limit(request),
        request.query.get("continue", ""),
        request.query.get("resourceVersionMatch", ""),
    )
    version, start = version_of(request), None
    if token:
        if request.query.get("resourceVersion") not in (None, "", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        version, start = _read_token(token)
    elif match:
        if match not in ("Exact", "NotOlderThan"):
            raise _forbidden_match(match)
        if not request.query.get("resourceVersion"):
            raise _forbidden_match(match, "resourceVersionMatch is forbidden unless resourceVersion is provided")
    if version > store.version:
        raise ApiError(
            504,
            "Timeout",
            f"Too large resource version: {version}, current: {store.version}",
            {
                "retryAfterSeconds": 1,
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            },
        )
    if token or match == "Exact":
        entries = _as_of(objects, resource, version)
        shown_version = version
    else:
        entries, shown_version = store.all(resource.storage, wanted.namespace), store.version
    found = [entry for entry in entries if (start is None or entry.key > start) and wanted.wants(entry)]
    metadata: Doc = {"resourceVersion": str(shown_version)}
    if limit and len(found) > limit:
        metadata["continue"] = _token(shown_version, found[limit - 1].key)
        if not wanted.selective:
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return responses.many(resource, found, metadata, form, objects.now(), include_of(request))


def _limit(request: Request) -> int:
    text = request.query.get("limit", "0")
    if not text.lstrip("-").isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return max(0, int(text))


def _forbidden_match(match: str, why: str = "") -> ApiError:
    from meshguard.sim.api.status import forbidden_field, invalid, unsupported

    path = "resourceVersionMatch"
    wrong = forbidden_field(path, why) if why else unsupported(path, match, ["Exact", "NotOlderThan", ""])
    return invalid("meta.k8s.io", "ListOptions", "", [wrong])


def _as_of(objects: Objects, resource: Resource, version: int) -> list[Entry]:
    try:
        entries = objects.store.as_of(resource.storage, version)
    except ApiError:
        raise expired(_EXPIRED) from None
    return [entries[key] for key in sorted(entries)]


def _token(version: int, key: Key) -> str:
    namespace, name = key
    start = f"{namespace}/{name}\0" if namespace else f"{name}\0"
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, Key]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        found = json.loads(text)
        namespace, _, name = found["start"].rstrip("\0").rpartition("/")
        return int(found["rv"]), (namespace, name)
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise bad_request(
            "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"
        ) from None


def watch(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """Answer a stream of events. Raises ApiError: 400 for a bad selector, 410 where the past is forgotten."""
    wanted, store = Filter.of(resource, request, target), objects.store
    initial, version = request.query.get("sendInitialEvents") == "true", version_of(request)
    given = request.query.get("resourceVersion", "")
    collection = store.collection(resource.storage)
    first: list[Entry] = []
    if initial or given in ("", "0"):
        first = [entry for entry in store.all(resource.storage, wanted.namespace) if wanted.wants(entry)]
        past: list[Event] = []
    else:
        try:
            past = store.since(resource.storage, version)
        except ApiError as problem:
            # A watch that begins too far back gets its refusal as an event, as the watch cache gives it.
            return Response(200, stream=_refusal(problem))
    subscription = Subscription(collection, past)
    lines = Lines(objects, resource, form, include_of(request))
    timeout = float(request.query.get("timeoutSeconds") or _TIMEOUT_S)
    bookmarks = request.flag("allowWatchBookmarks")
    return Response(200, stream=_stream(lines, wanted, subscription, first, timeout, bookmarks, initial))


async def _refusal(problem: ApiError) -> AsyncIterator[bytes]:
    yield encoded({"type": "ERROR", "object": problem.body()}) + b"\n"


class Lines:
    """Writes events as lines, in the form that somebody wants."""

    def __init__(self, objects: Objects, resource: Resource, form: Form, include: str) -> None:
        self._objects, self._resource, self._form, self._include = objects, resource, form, include
        self._headed = False

    def event(self, change: Change, entry: Entry) -> bytes:
        """One change."""
        if self._form.as_ is As.ITSELF:
            body = responses.whole(self._resource, entry)
        elif self._form.as_ is As.TABLE:
            now = self._objects.now()
            metadata = {"resourceVersion": str(entry.version)}
            body = encoded(
                table.table(self._resource, [entry.doc], metadata, now, self._include, headless=self._headed)
            )
            self._headed = True
        else:
            body = encoded(responses.metadata_only(entry.doc))
        return b'{"type":"%s","object":%s}\n' % (change.value.encode(), body)

    def bookmark(self, *, end_of_list: bool = False) -> bytes:
        """How far the watch has come."""
        metadata: dict[str, Any] = {"resourceVersion": str(self._objects.store.version)}
        if end_of_list:
            metadata["annotations"] = {_END: "true"}
        doc: Doc = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": metadata}
        if self._form.as_ is As.TABLE:
            doc = table.table(self._resource, [], metadata, "", "None")
        return encoded({"type": "BOOKMARK", "object": doc}) + b"\n"


async def _stream(
    lines: Lines,
    wanted: Filter,
    subscription: Subscription,
    first: list[Entry],
    timeout_s: float,
    bookmarks: bool,
    initial: bool,
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    end, next_bookmark = loop.time() + timeout_s, loop.time() + BOOKMARK_S
    try:
        if first:
            yield b"".join(lines.event(Change.ADDED, entry) for entry in first)
        if initial and bookmarks:
            yield lines.bookmark(end_of_list=True)
        while loop.time() < end:
            try:
                async with asyncio.timeout(max(0.0, min(end, next_bookmark) - loop.time())):
                    await subscription.wait()
            except TimeoutError:
                pass
            found = [shown for event in subscription.take() for shown in _shown(event, wanted, lines.event)]
            if found:
                yield b"".join(found)
            if loop.time() >= next_bookmark:
                next_bookmark += BOOKMARK_S
                if bookmarks:
                    yield lines.bookmark()
    finally:
        subscription.close()


def _shown(event: Event, wanted: Filter, write: Callable[[Change, Entry], bytes]) -> list[bytes]:
    """An object that begins or ceases to be wanted is added or deleted, for the one who watches."""
    before, after = wanted.wants(event.old), event.change is not Change.DELETED and wanted.wants(event.new)
    match before, after:
        case False, True:
            return [write(Change.ADDED, event.new)]
        case True, True:
            return [write(Change.MODIFIED, event.new)]
        case True, False:
            if event.change is Change.DELETED or event.old is None:
                return [write(Change.DELETED, event.new)]
            metadata = {**event.old.doc["metadata"], "resourceVersion": str(event.version)}
            return [write(Change.DELETED, Entry(event.old.key, {**event.old.doc, "metadata": metadata}, event.version))]
    return []
