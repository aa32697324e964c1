"""JSON Patch (RFC 6902) as `evanphx/json-patch` applies it, which differs from the letter in how null is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshguard.sim.api.status import ApiError, bad_request

MOST_OPERATIONS = 10000


class _Fails(Exception):
    """An operation cannot be done."""


def apply(doc: Any, operations: Any) -> Any:
    """Return the patched document. Raises ApiError: 400 for what is no patch, 413 for too many operations, 422."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > MOST_OPERATIONS:
        count = len(operations)
        message = f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {count}"
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")
    try:
        for operation in operations:
            if not isinstance(operation, Mapping):
                raise bad_request("json: cannot unmarshal into Go value of type jsonpatch.Operation")
            doc = _operate(doc, operation)
    except _Fails:
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message, {}) from None
    return doc


def _operate(doc: Any, operation: Mapping[str, Any]) -> Any:
    name, path = operation.get("op"), _pointer(operation.get("path"))
    match name:
        case "add":
            return _added(doc, path, operation.get("value"))
        case "remove":
            return _removed(doc, path)
        case "replace":
            if not path:
                return operation.get("value")
            return _set(doc, path, operation.get("value"))
        case "test":
            return _tested(doc, path, operation)
        case "move":
            origin = _pointer(operation.get("from"))
            value = _read(doc, origin)
            return _added(_removed(doc, origin), path, value)
        case "copy":
            return _added(doc, path, _read(doc, _pointer(operation.get("from"))))
    raise _Fails(f"unexpected kind: {name}")


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str):
        raise _Fails("no path")
    if not text:
        return []
    if not text.startswith("/"):
        raise _Fails("not a pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(items: Sequence[Any], key: str, most: int) -> int:
    try:
        number = int(key)
    except ValueError:
        raise _Fails(f"not an index: {key}") from None
    if number < 0:
        number += len(items)
    if not 0 <= number <= most:
        raise _Fails(f"index out of bounds: {key}")
    return number


def _read(doc: Any, path: Sequence[str]) -> Any:
    for key in path:
        if isinstance(doc, Mapping):
            if key not in doc:
                raise _Fails(f"missing: {key}")
            doc = doc[key]
        elif isinstance(doc, list):
            doc = doc[_index(doc, key, len(doc) - 1)]
        else:
            raise _Fails(f"no container: {key}")
    return doc


def _tested(doc: Any, path: Sequence[str], operation: Mapping[str, Any]) -> Any:
    """A test for null holds for a field that is missing, but not below a parent that is missing."""
    wanted = operation.get("value")
    if path:
        parent = _read(doc, path[:-1])
        found = parent.get(path[-1]) if isinstance(parent, Mapping) else _read(doc, path)
    else:
        found = doc
    if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
        raise _Fails("test failed")
    return doc


def _at(doc: Any, path: Sequence[str], change: Any) -> Any:
    """Return a copy of the document in which the container above the last key is changed."""
    if len(path) == 1:
        return change(doc, path[0])
    key = path[0]
    if isinstance(doc, Mapping):
        if key not in doc:
            raise _Fails(f"missing: {key}")
        return {**doc, key: _at(doc[key], path[1:], change)}
    if isinstance(doc, list):
        number = _index(doc, key, len(doc) - 1)
        return [*doc[:number], _at(doc[number], path[1:], change), *doc[number + 1 :]]
    raise _Fails(f"no container: {key}")


def _added(doc: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value

    def change(container: Any, key: str) -> Any:
        if isinstance(container, Mapping):
            return {**container, key: value}
        if isinstance(container, list):
            number = len(container) if key == "-" else _index(container, key, len(container))
            return [*container[:number], value, *container[number:]]
        raise _Fails(f"no container: {key}")

    return _at(doc, path, change)


def _set(doc: Any, path: Sequence[str], value: Any) -> Any:
    def change(container: Any, key: str) -> Any:
        if isinstance(container, Mapping):
            return {**container, key: value}
        number = _index(container, key, len(container) - 1)
        return [*container[:number], value, *container[number + 1 :]]

    return _at(doc, path, change)


def _removed(doc: Any, path: Sequence[str]) -> Any:
    if not path:
        raise _Fails("cannot remove the document")

    def change(container: Any, key: str) -> Any:
        if isinstance(container, Mapping):
            if key not in container:
                raise _Fails(f"missing: {key}")
            return {name: value for name, value in container.items() if name != key}
        if isinstance(container, list):
            number = _index(container, key, len(container) - 1)
            return [*container[:number], *container[number + 1 :]]
        raise _Fails(f"no container: {key}")

    return _at(doc, path, change)
