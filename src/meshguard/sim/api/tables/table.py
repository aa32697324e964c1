"""Lists and objects as a `Table` of `meta.k8s.io/v1`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from meshguard.sim.api.resources import Resource
from meshguard.sim.api.status import Doc
from meshguard.sim.api.tables import columns
from meshguard.sim.api.tables.ages import since
from meshguard.sim.api.tables.columns import Column, Printer

#: Written by the conversion to a version of the API only; a table is made of what comes before.
_INTERNAL = "deprecated.daemonset.template.generation"


def definitions(resource: Resource) -> list[Doc]:
    """The columns of a resource."""
    return [
        {"name": c.name, "type": c.type, "format": c.format, "description": "", "priority": c.priority}
        for c in printer_of(resource).columns
    ]


def row(resource: Resource, doc: Doc, now: str, include: str) -> Doc:
    """One row, with as much of the object as `include` says (`None`, `Metadata`, `Object`)."""
    cells = printer_of(resource).row(doc, now)
    match include:
        case "None":
            shown: Any = None
        case "Object":
            shown = {"kind": resource.kind, "apiVersion": resource.api_version, **doc}
        case _:
            metadata = doc["metadata"]
            if _INTERNAL in metadata.get("annotations", {}):
                kept = {key: value for key, value in metadata["annotations"].items() if key != _INTERNAL}
                metadata = {name: value for name, value in metadata.items() if name != "annotations"}
                metadata = {**metadata, "annotations": kept} if kept else metadata
            shown = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {"cells": cells, "object": shown}


def table(
    resource: Resource, docs: Iterable[Doc], metadata: Doc, now: str, include: str, *, headless: bool = False
) -> Doc:
    """A whole table."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [] if headless else definitions(resource),
        "rows": [row(resource, doc, now, include) for doc in docs],
    }


def printer_of(resource: Resource) -> Printer:
    """How a resource is shown."""
    if resource.custom is None:
        return columns.PRINTERS.get(resource.storage, columns.DEFAULT)
    return _custom(resource)


def _custom(resource: Resource) -> Printer:
    assert resource.custom is not None
    given = resource.custom.get("additionalPrinterColumns") or [
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ]
    shown = tuple(Column(c["name"], c["type"], c.get("format", ""), c.get("priority", 0)) for c in given)

    def cells(doc: Doc, now: str) -> list[Any]:
        return [doc["metadata"]["name"], *(_cell(doc, c["jsonPath"], c["type"], now) for c in given)]

    return Printer((Column("Name", "string", "name"), *shown), cells)


def _cell(doc: Doc, path: str, kind: str, now: str) -> Any:
    found = json_path(doc, path)
    if not found:
        return "<unknown>" if kind == "date" else None
    value = found[0] if len(found) == 1 else found
    match kind:
        case "date":
            return since(str(value), now)
        case "string":
            return _text(value)
    return value


def _text(value: Any) -> str:
    import json

    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def json_path(doc: Any, path: str) -> list[Any]:
    """What a JSONPath of a printer column finds: names, indexes, `[*]` and one comparison of equality."""
    found = [doc]
    for part in re.findall(r"\.(?:[^.\[\]]+(?:\[[^\]]*\])*)|\[[^\]]*\]", path):
        name, *brackets = re.split(r"(?=\[)", part.removeprefix(".")) if not part.startswith("[") else ["", part]
        if name:
            found = [item[name] for item in found if isinstance(item, dict) and name in item]
        for bracket in brackets:
            found = [inner for item in found for inner in _selected(item, bracket)]
    return found


def _selected(item: Any, bracket: str) -> list[Any]:
    if not isinstance(item, list):
        return []
    inside = bracket[1:-1]
    compared = re.fullmatch(r"\?\(@\.(\w+)\s*==\s*[\"']([^\"']*)[\"']\)", inside)
    if compared:
        return [inner for inner in item if isinstance(inner, dict) and str(inner.get(compared[1])) == compared[2]]
    if inside == "*":
        return item
    return item[int(inside) : int(inside) + 1] if inside.isdigit() else []
