"""Decoding of the built-in kinds as Go does it: unknown fields are told, wrong types refused, zeros omitted.

Source: `sigs.k8s.io/json`, `encoding/json`, and the `omitempty` marks in `k8s.io/api`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshguard.sim.api.defaults import DEFAULTS
from meshguard.sim.api.quantities import canonical
from meshguard.sim.api.schema import Empty, Field, Shape, Type

_JSON_NAMES: Mapping[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}
_ZERO = {Shape.STRING: "", Shape.INTEGER: 0, Shape.NUMBER: 0, Shape.BOOLEAN: False, Shape.QUANTITY: "0"}


class Unmarshal(ValueError):
    """A value has a JSON type that its field cannot hold; the message is Go's own."""


class Decoder:
    """Decodes one document and remembers which of its fields are unknown."""

    def __init__(self, *, defaults: bool = True) -> None:
        self.unknown: list[str] = []
        self._defaults = defaults

    def decode(self, of: Type, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document as the server would write it back. Raises Unmarshal."""
        out: dict[str, Any] = self._struct(of, value, "", "")
        return out

    def _value(self, of: Type, value: Any, path: str, plain: str, owner: str) -> Any:
        match of.shape:
            case Shape.STRUCT:
                self._expect(dict, value, of.name, plain, owner)
                return self._struct(of, value, path, plain)
            case Shape.LIST:
                self._expect(list, value, f"[]{of.part.name or of.part.shape.value}", plain, owner)
                return [self._item(of.part, item, f"{path}[{i}]", plain, owner) for i, item in enumerate(value)]
            case Shape.MAP:
                self._expect(dict, value, f"map[string]{of.part.name}", plain, owner)
                return {k: self._item(of.part, v, f"{path}.{k}", plain, owner) for k, v in value.items()}
            case Shape.STRING | Shape.TIME:
                self._expect(str, value, of.name, plain, owner)
            case Shape.BOOLEAN:
                self._expect(bool, value, "bool", plain, owner)
            case Shape.INTEGER:
                if isinstance(value, bool) or not isinstance(value, int):
                    shown = f"number {value}" if isinstance(value, float) else _JSON_NAMES.get(type(value), "null")
                    raise self._wrong(shown, of.name, plain, owner)
            case Shape.NUMBER:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise self._wrong(_JSON_NAMES[type(value)], of.name, plain, owner)
            case Shape.QUANTITY:
                try:
                    return canonical(value)
                except ValueError as error:
                    raise Unmarshal(str(error)) from None
            case Shape.INT_OR_STRING:
                if isinstance(value, bool) or not isinstance(value, int | str):
                    raise self._wrong(_JSON_NAMES[type(value)], "int32", plain, owner)
            case Shape.ANY:
                pass
        return value

    def _item(self, of: Type, value: Any, path: str, plain: str, owner: str) -> Any:
        if value is None:
            return self._struct(of, {}, path, plain) if of.shape is Shape.STRUCT else _ZERO.get(of.shape)
        return self._value(of, value, path, plain, owner)

    def _struct(self, of: Type, value: Mapping[str, Any], path: str, plain: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        known = of.fields
        for name, inner in value.items():
            field = known.get(name)
            at = f"{path}.{name}" if path else name
            if field is None:
                self.unknown.append(at)
            elif inner is not None:
                deeper = f"{plain}.{name}" if plain else name
                found = self._value(field.of, inner, at, deeper, of.name)
                if not _omitted(field, found):
                    out[name] = found
        self._complete(of, out, path, plain)
        return out

    def _complete(self, of: Type, out: dict[str, Any], path: str, plain: str) -> None:
        """Add the defaults, and what Go's encoder always writes."""
        default = DEFAULTS.get(of.name) if self._defaults else None
        for name, field in of.fields.items():
            if name in out:
                continue
            if field.default is not None and self._defaults:
                out[name] = field.default
            elif field.empty is Empty.NULL:
                out[name] = None
            elif field.of.shape is Shape.STRUCT:
                if field.empty in (Empty.OMIT, Empty.ALWAYS):
                    out[name] = self._struct(field.of, {}, f"{path}.{name}", f"{plain}.{name}")
            elif field.of.shape is Shape.TIME and field.empty is Empty.OMIT:
                out[name] = None  # a struct, which Go's encoder does not omit
            elif field.empty is Empty.ALWAYS:
                out[name] = _ZERO.get(field.of.shape)
        if default is not None:
            default(out)

    @staticmethod
    def _wrong(found: str, wanted: str, plain: str, owner: str) -> Unmarshal:
        return Unmarshal(f"json: cannot unmarshal {found} into Go struct field {owner}.{plain} of type {wanted}")

    def _expect(self, kind: type, value: Any, wanted: str, plain: str, owner: str) -> None:
        if type(value) is not kind:
            raise self._wrong(_JSON_NAMES.get(type(value), "null"), wanted, plain, owner)


def _omitted(field: Field, value: Any) -> bool:
    """Tell whether Go's encoder would leave the field out."""
    if field.of.shape in (Shape.LIST, Shape.MAP):
        return not value and field.empty is not Empty.ALWAYS
    if field.empty is Empty.OMIT_ZERO:
        return not value
    return field.empty is Empty.OMIT and field.of.shape is not Shape.STRUCT and value in ("", 0, False)


def strict_error(unknown: Sequence[str], duplicates: Sequence[str]) -> str:
    """What strict field validation says of unknown and duplicate fields."""
    words = [f'unknown field "{path}"' for path in unknown] + [f'duplicate field "{path}"' for path in duplicates]
    return "strict decoding error: " + ", ".join(words)
