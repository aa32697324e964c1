"""Types of the API, compiled from the OpenAPI documents of Kubernetes when they are used first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

_PREFIX = "#/components/schemas/"
_FREE_FORM = ("JSON", "JSONSchemaProps", "RawExtension", "FieldsV1")


class Shape(Enum):
    """What JSON a type is written as."""

    STRUCT = "struct"
    MAP = "map"
    LIST = "list"
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    INT_OR_STRING = "int-or-string"
    QUANTITY = "quantity"
    TIME = "time"
    ANY = "any"


class Empty(Enum):
    """What Go's encoder does with a field that holds its zero value."""

    OMIT = "omit"
    KEEP = "keep"
    """The field is a pointer: a zero that was given is kept, an absent one stays absent."""
    NULL = "null"
    """The field is a pointer that is always written."""
    ALWAYS = "always"
    OMIT_ZERO = "omitzero"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct, with what patches have to know of it."""

    name: str
    of: Type
    empty: Empty = Empty.KEEP
    merge_key: str = ""
    strategy: str = ""
    default: Any = None
    """What an absent field becomes, where the API's markers say so."""
    number: int = 0
    """Its number in protobuf."""


@dataclass
class Type:
    """A type: its shape, and its parts."""

    shape: Shape
    name: str = ""
    """The Go name, as in `DeploymentSpec` or `int32`."""
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The schemas of a struct's fields."""
    element: Type | None = None
    map_keys: tuple[str, ...] = ()
    list_type: str = "atomic"
    atomic: bool = False
    embedded: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Structs that Go embeds: in protobuf a message of their own, whose numbers stand for fields of this type."""

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """The fields of a struct; compiled when they are looked at, for schemas are recursive."""
        return {name: _field(name, schema) for name, schema in self.properties.items()}

    @property
    def part(self) -> Type:
        """The type of the elements of a list or of the values of a map."""
        assert self.element is not None
        return self.element


@cache
def schemas() -> Mapping[str, Mapping[str, Any]]:
    """The schemas of the built-in kinds, by their OpenAPI name."""
    text = files("meshguard.sim.api").joinpath("data/schemas.json").read_text()
    loaded: dict[str, Mapping[str, Any]] = json.loads(text)
    return loaded


@cache
def _kinds() -> Mapping[tuple[str, str, str], str]:
    return {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, schema in schemas().items()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
    }


def type_of(group: str, version: str, kind: str) -> Type:
    """Return the type of a built-in kind. Raises KeyError for one that is not known."""
    return named(_kinds()[group, version, kind])


def openapi_name(group: str, version: str, kind: str) -> str:
    """Return the name of a built-in kind's schema. Raises KeyError."""
    return _kinds()[group, version, kind]


@cache
def named(name: str) -> Type:
    """Compile a schema by its OpenAPI name."""
    schema, go = schemas()[name], name.rpartition(".")[2]
    scalar = _scalar(go, schema)
    if scalar is not None:
        return scalar
    if go in _FREE_FORM:
        return Type(Shape.ANY, go)
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    embedded = schema.get("x-proto-inline", {})
    return Type(Shape.STRUCT, go, schema.get("properties", {}), atomic=atomic, embedded=embedded)


def _field(name: str, schema: Mapping[str, Any]) -> Field:
    return Field(
        name,
        _compile(schema),
        Empty(schema.get("x-go", "keep")),
        schema.get("x-kubernetes-patch-merge-key", ""),
        schema.get("x-kubernetes-patch-strategy", ""),
        schema.get("default") or None,  # an empty default is only the zero value of Go
        schema.get("x-proto", 0),
    )


def _compile(schema: Mapping[str, Any]) -> Type:
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    if "$ref" in schema:
        found = named(schema["$ref"].removeprefix(_PREFIX))
        return replace(found, atomic=True) if atomic else found
    match schema.get("type"):
        case "array":
            keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
            kind = schema.get("x-kubernetes-list-type", "atomic")
            return Type(Shape.LIST, element=_compile(schema["items"]), map_keys=keys, list_type=kind)
        case "object" if "additionalProperties" in schema:
            return Type(Shape.MAP, element=_compile(schema["additionalProperties"]), atomic=atomic)
    return _scalar("", schema) or Type(Shape.ANY)


def _scalar(name: str, schema: Mapping[str, Any]) -> Type | None:
    if name == "Quantity":
        return Type(Shape.QUANTITY, name)
    if schema.get("format") == "int-or-string":
        return Type(Shape.INT_OR_STRING, "IntOrString")
    if name in ("Time", "MicroTime"):
        return Type(Shape.TIME, name)
    match schema.get("type"):
        case "string":
            return Type(Shape.STRING, "[]uint8" if schema.get("format") == "byte" else "string")
        case "integer":
            return Type(Shape.INTEGER, schema.get("format", "int32"))
        case "number":
            return Type(Shape.NUMBER, "float64")
        case "boolean":
            return Type(Shape.BOOLEAN, "bool")
    return None
