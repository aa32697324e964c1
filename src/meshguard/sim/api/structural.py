"""Custom resources: unknown fields are pruned, defaults filled in, values validated by the structural schema.

Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema` (pruning, defaulting) and `validation` (the wording).
Rules in CEL (`x-kubernetes-validations`) are not evaluated.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import Any

from meshguard.sim.api.schema import Field, Shape, Type
from meshguard.sim.api.status import FieldError, invalid_value, required, shown, unsupported

Schema = Mapping[str, Any]
_SHAPES = {
    "string": Shape.STRING,
    "integer": Shape.INTEGER,
    "number": Shape.NUMBER,
    "boolean": Shape.BOOLEAN,
}
_IS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def type_of_schema(schema: Schema, name: str = "") -> Type:
    """Compile a structural schema, as patches and server-side apply need it."""
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    if schema.get("x-kubernetes-int-or-string"):
        return Type(Shape.INT_OR_STRING)
    match schema.get("type"):
        case "object" if schema.get("properties"):
            return _Struct(Shape.STRUCT, name, schema["properties"], atomic=atomic)
        case "object" if isinstance(schema.get("additionalProperties"), Mapping):
            return Type(Shape.MAP, element=type_of_schema(schema["additionalProperties"]), atomic=atomic)
        case "array":
            keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
            kind = schema.get("x-kubernetes-list-type", "atomic")
            return Type(Shape.LIST, element=type_of_schema(schema.get("items", {})), map_keys=keys, list_type=kind)
    return Type(_SHAPES.get(schema.get("type", ""), Shape.ANY))


class _Struct(Type):
    """A struct whose fields are structural schemas."""

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        return {name: Field(name, type_of_schema(schema)) for name, schema in self.properties.items()}


def prune(schema: Schema, value: Any, path: str, unknown: list[str]) -> Any:
    """Return the value without what the schema does not have and with its defaults; unknown paths are collected."""
    if isinstance(value, dict):
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        open_ = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
        out: dict[str, Any] = {}
        for name, inner in value.items():
            at = f"{path}.{name}" if path else name
            if name in properties:
                if inner is None and not properties[name].get("nullable"):
                    continue
                out[name] = prune(properties[name], inner, at, unknown)
            elif isinstance(rest, Mapping):
                out[name] = prune(rest, inner, at, unknown)
            elif open_ or rest is True:
                out[name] = inner
            else:
                unknown.append(at)
        for name, found in properties.items():
            if name not in out and "default" in found:
                out[name] = prune(found, copy.deepcopy(found["default"]), f"{path}.{name}", unknown)
        return out
    if isinstance(value, list) and "items" in schema:
        return [prune(schema["items"], item, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
    return value


def validate(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with a value by its schema."""
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield _wrong_type(path, value, "integer,string")
        return
    wanted = schema.get("type")
    if wanted and not _is(wanted, value):
        yield _wrong_type(path, value, wanted)
        if "enum" in schema:
            yield unsupported(path, value, [str(word) for word in schema["enum"]])
        return
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(path, value, [str(word) for word in schema["enum"]])
    match value:
        case dict():
            yield from _object(schema, value, path)
        case list():
            yield from _array(schema, value, path)
        case str():
            yield from _string(schema, value, path)
        case bool():
            pass
        case int() | float():
            yield from _number(schema, value, path)
    yield from _combined(schema, value, path)


def _is(wanted: str, value: Any) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _IS[wanted]) or (wanted == "integer" and isinstance(value, float) and value.is_integer())


def _wrong_type(path: str, value: Any, wanted: str) -> FieldError:
    name = _NAMES[type(value)]
    message = f'Invalid value: "{name}": {path} in body must be of type {wanted}: "{name}"'
    return FieldError(path, "FieldValueTypeInvalid", message)


def _object(schema: Schema, value: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    for name in schema.get("required", ()):
        if name not in value:
            yield required(f"{path}.{name}" if path else name)
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name, inner in value.items():
        found = properties.get(name, rest if isinstance(rest, Mapping) else None)
        if found is not None:
            yield from validate(found, inner, f"{path}.{name}" if path else name)
    if len(value) > schema.get("maxProperties", len(value)):
        most = schema["maxProperties"]
        yield FieldError(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items")


def _array(schema: Schema, value: list[Any], path: str) -> Iterator[FieldError]:
    for number, item in enumerate(value):
        yield from validate(schema.get("items", {}), item, f"{path}[{number}]")
    if len(value) > schema.get("maxItems", len(value)):
        most = schema["maxItems"]
        yield FieldError(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items")
    if len(value) < schema.get("minItems", 0):
        least = schema["minItems"]
        yield invalid_value(path, len(value), f"{path} in body should have at least {least} items")


def _string(schema: Schema, value: str, path: str) -> Iterator[FieldError]:
    if len(value) > schema.get("maxLength", len(value)):
        most = schema["maxLength"]
        yield FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {most} bytes")
    if len(value) < schema.get("minLength", 0):
        yield invalid_value(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield invalid_value(path, value, f"{path} in body should match '{schema['pattern']}'")


def _number(schema: Schema, value: float, path: str) -> Iterator[FieldError]:
    if value < schema.get("minimum", value):
        least = schema["minimum"]
        yield invalid_value(path, value, f"{path} in body should be greater than or equal to {shown(least)}")
    if value > schema.get("maximum", value):
        yield invalid_value(path, value, f"{path} in body should be less than or equal to {shown(schema['maximum'])}")


def _combined(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    for part in schema.get("allOf", ()):
        yield from validate(part, value, path)
    if "anyOf" in schema and not any(_holds(part, value) for part in schema["anyOf"]):
        yield invalid_value(path, value, f"{path} in body must validate at least one schema (anyOf)")
    if "oneOf" in schema:
        held = sum(_holds(part, value) for part in schema["oneOf"])
        if held != 1:
            found = "Found none valid" if not held else f"Found {held} valid alternatives"
            said = f'"{path}" must validate one and only one schema (oneOf). {found}'
            yield FieldError(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {said}")
    if "not" in schema and _holds(schema["not"], value):
        yield invalid_value(path, value, f"{path} in body must not validate the schema (not)")


def _holds(schema: Schema, value: Any) -> bool:
    return next(validate(schema, value, "x"), None) is None


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Go's syntax as far as the definitions use it."""
    return re.compile(pattern.replace(r"\z", r"\Z").replace("[[:alpha:]]", "[A-Za-z]"))
