"""Strategic merge patch: lists of objects merge by a key that the type says.

Source: `k8s.io/apimachinery/pkg/util/strategicpatch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshguard.sim.api.schema import Field, Shape, Type
from meshguard.sim.api.status import ApiError, bad_request

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_ANY = Type(Shape.ANY)


def apply(of: Type, doc: Mapping[str, Any], patch: Any) -> dict[str, Any]:
    """Return the patched document. Raises ApiError for a patch that is no mapping or lacks a merge key."""
    if not isinstance(patch, Mapping):
        raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    return _merged(of, doc, patch)


def _merged(of: Type, doc: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    match patch.get(_DIRECTIVE):
        case "replace":
            return {key: value for key, value in patch.items() if key != _DIRECTIVE}
        case "delete":
            return {}
        case None | "merge":
            pass
        case other:
            raise bad_request(f"unknown patch type found: {other}")
    out = dict(doc)
    if _RETAIN in patch:
        out = {key: value for key, value in out.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            out[name] = [item for item in out.get(name, []) if item not in value]
    for key, value in patch.items():
        if key in (_DIRECTIVE, _RETAIN) or key.startswith((_DELETE_FROM, _ORDER)):
            continue
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _value(_field(of, key), out.get(key), value, patch.get(_ORDER + key))
    return out


def _field(of: Type, key: str) -> Field:
    if of.shape is Shape.MAP:
        return Field(key, of.part)
    return of.fields.get(key) or Field(key, _ANY) if of.shape is Shape.STRUCT else Field(key, _ANY)


def _value(field: Field, old: Any, new: Any, order: Any) -> Any:
    strategies = field.strategy.split(",")
    if isinstance(new, Mapping):
        if "replace" in strategies:
            return {key: value for key, value in new.items() if key != _DIRECTIVE}
        return _merged(field.of, old if isinstance(old, Mapping) else {}, new)
    if not isinstance(new, list) or "merge" not in strategies:
        return new
    if not field.merge_key:
        merged = [*(old or []), *(item for item in new if item not in (old or []))]
        return _ordered(merged, order or [], lambda item: item)
    return _list(field, old if isinstance(old, list) else [], new, order)


def _list(field: Field, old: list[Any], patch: Sequence[Any], order: Any) -> list[Any]:
    key, element = field.merge_key, field.of.part
    if any(isinstance(item, Mapping) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, Mapping) and item.get(_DIRECTIVE) == "replace")]
    out = list(old)
    added: list[Any] = []
    for item in patch:
        if not isinstance(item, Mapping) or key not in item:
            shown = " ".join(f"{name}:{value}" for name, value in item.items()) if isinstance(item, Mapping) else item
            raise ApiError(500, "", f"map: map[{shown}] does not contain declared merge key: {key}")
        found = next((i for i, there in enumerate(out) if there.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            out = [there for there in out if there.get(key) != item[key]]
        elif found is None:
            added.append(_merged(element, {}, item))
        else:
            out[found] = _merged(element, out[found], item)
    if order:
        wanted = [item[key] for item in order if isinstance(item, Mapping) and key in item]
        return _ordered([*out, *added], wanted, lambda item: item.get(key))
    # Without an order the items that the patch adds come first, as Kubernetes merges them.
    return [*added, *out]


def _ordered(items: list[Any], wanted: Sequence[Any], key: Any) -> list[Any]:
    """Put the items into the wanted order; others stay behind the neighbour that they followed."""
    place = {value: number for number, value in enumerate(wanted)}
    known = sorted((item for item in items if key(item) in place), key=lambda item: place[key(item)])
    out: list[Any] = []
    for item in items:
        out.append(known.pop(0) if key(item) in place else item)
    return out
