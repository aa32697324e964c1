"""Sets of fields: which leaves a document has, what stands there, and how `FieldsV1` writes them down.

Source: `sigs.k8s.io/structured-merge-diff`. A path is a tuple of steps; a step is `f:NAME`, `k:{...}` for an element of
a list that is a map, or `v:VALUE` for one of a list that is a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshguard.sim.api.schema import Shape, Type

Path = tuple[str, ...]
Paths = frozenset[Path]
_ANY = Type(Shape.ANY)
MISSING = object()


def leaves(of: Type, value: Any, path: Path = (), *, maps: bool = False) -> Iterator[Path]:
    """Yield the paths that somebody owns who writes this document; with `maps` also those of the maps themselves."""
    if isinstance(value, Mapping) and value and not of.atomic and of.shape in (Shape.STRUCT, Shape.MAP):
        if maps and of.shape is Shape.MAP:
            yield path
        for name, inner in value.items():
            yield from leaves(inside(of, name), inner, (*path, f"f:{name}"), maps=maps)
    elif isinstance(value, list) and of.shape is Shape.LIST and of.list_type in ("map", "set"):
        for item in value:
            at = (*path, step_of(of, item))
            yield at
            if of.list_type == "map":
                yield from leaves(of.part, item, at, maps=maps)
    else:
        yield path


def inside(of: Type, name: str) -> Type:
    """The type of a field of a struct or of a value of a map."""
    if of.shape is Shape.MAP:
        return of.part
    field = of.fields.get(name) if of.shape is Shape.STRUCT else None
    return field.of if field else _ANY


def step_of(of: Type, item: Any) -> str:
    """The step to an element of a list."""
    if of.list_type == "set":
        return "v:" + _compact(item)
    keys = {key: item[key] for key in sorted(of.map_keys) if key in item}
    return "k:" + _compact(keys)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def value_at(of: Type, doc: Any, path: Path) -> Any:
    """What stands at a path; MISSING when nothing does."""
    for step in path:
        if step.startswith("f:"):
            name = step[2:]
            if not isinstance(doc, Mapping) or name not in doc:
                return MISSING
            of, doc = inside(of, name), doc[name]
        else:
            found = (
                next((item for item in doc if step_of(of, item) == step), MISSING) if isinstance(doc, list) else MISSING
            )
            if found is MISSING:
                return MISSING
            of, doc = of.part, found
    return doc


def without(of: Type, doc: Any, path: Path) -> Any:
    """Return the document without what stands at a path; a parent that is left empty goes as well."""
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        name = step[2:]
        if not isinstance(doc, Mapping) or name not in doc:
            return doc
        inner = without(inside(of, name), doc[name], rest) if rest else None
        if rest and inner not in ({}, []):
            return {**doc, name: inner}
        return {key: value for key, value in doc.items() if key != name}
    if not isinstance(doc, list):
        return doc
    if not rest:
        return [item for item in doc if step_of(of, item) != step]
    return [without(of.part, item, rest) if step_of(of, item) == step else item for item in doc]


def merged(of: Type, live: Any, config: Any) -> Any:
    """Return the live value with everything of the configuration in it."""
    if (
        isinstance(config, Mapping)
        and isinstance(live, Mapping)
        and not of.atomic
        and of.shape in (Shape.STRUCT, Shape.MAP)
    ):
        out = dict(live)
        for name, value in config.items():
            out[name] = merged(inside(of, name), live[name], value) if name in live else value
        return out
    if (
        isinstance(config, list)
        and isinstance(live, list)
        and of.shape is Shape.LIST
        and of.list_type in ("map", "set")
    ):
        return _merged_list(of, live, config)
    return config


def _merged_list(of: Type, live: list[Any], config: list[Any]) -> list[Any]:
    there = {step_of(of, item): item for item in live}
    wanted = {step_of(of, item): item for item in config}
    out = []
    for step, item in there.items():
        if step not in wanted:
            out.append(item)
    for step, item in wanted.items():
        keep = of.list_type == "map" and step in there
        out.append(merged(of.part, there[step], item) if keep else item)
    order = {step: number for number, step in enumerate([*there, *(s for s in wanted if s not in there)])}
    return sorted(out, key=lambda item: order[step_of(of, item)])


def to_json(paths: Iterable[Path]) -> dict[str, Any]:
    """Write paths down as `FieldsV1`."""
    out: dict[str, Any] = {}
    paths = list(paths)
    for path in sorted(paths):
        node = out
        for step in path:
            node = node.setdefault(step, {})
    _dot(out, set(paths), ())
    return out


def _dot(node: dict[str, Any], owned: set[Path], path: Path) -> None:
    """Mark the containers that are owned themselves, beside what is in them."""
    for step, inner in list(node.items()):
        at = (*path, step)
        if inner:
            _dot(inner, owned, at)
            if at in owned:
                inner["."] = {}


def from_json(fields: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    """Read paths back."""
    if not fields and path:
        yield path
    for step, inner in fields.items():
        if step == ".":
            yield path
        else:
            yield from from_json(inner, (*path, step))
