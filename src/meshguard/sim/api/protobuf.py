"""Bodies in protobuf, as Go clients send them for built-in kinds; answers are JSON, which they accept as well.

Source: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` (the envelope) and the `generated.proto` files (numbers).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from meshguard.sim.api.schema import Shape, Type, type_of
from meshguard.sim.api.status import ApiError, bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


def decode(body: bytes) -> dict[str, Any]:
    """Return the document in an envelope. Raises ApiError (400)."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = {number: value for number, _, value in _fields(body[len(_MAGIC) :])}
        header = {number: bytes(value).decode() for number, _, value in _fields(envelope[1])}
        api_version, kind = header.get(1, ""), header.get(2, "")
        group, _, version = api_version.rpartition("/")
        document = _message(type_of(group, version, kind), envelope.get(2, b""))
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise _unreadable(error) from error
    return {"apiVersion": api_version, "kind": kind, **document}


def _unreadable(error: Exception) -> ApiError:
    return bad_request(f"the protobuf body cannot be read: {error!r}")


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and raw value of each field."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        match kind:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, kind, value
            case 1:
                yield key >> 3, kind, data[at : at + 8]
                at += 8
            case 2:
                size, at = _varint(data, at)
                yield key >> 3, kind, data[at : at + size]
                at += size
            case 5:
                yield key >> 3, kind, data[at : at + 4]
                at += 4
            case _:
                raise ValueError(f"wire type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _message(of: Type, data: bytes) -> dict[str, Any]:
    out: dict[str, Any] = {}
    numbers = {field.number: field for field in of.fields.values() if field.number}
    for number, _, value in _fields(data):
        inner = of.embedded.get(str(number))
        if inner is not None:
            out.update(_embedded(of, inner, value))
            continue
        field = numbers.get(number)
        if field is None:
            continue
        match field.of.shape:
            case Shape.LIST:
                out.setdefault(field.name, []).append(_value(field.of.part, value))
            case Shape.MAP:
                pair = {n: v for n, _, v in _fields(value)}
                key = bytes(pair.get(1, b"")).decode()
                out.setdefault(field.name, {})[key] = _value(field.of.part, pair.get(2, b""))
            case _:
                out[field.name] = _value(field.of, value)
    return out


def _embedded(of: Type, names: Mapping[str, str], data: bytes) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for number, _, value in _fields(data):
        name = names.get(str(number))
        if name is None:
            continue
        field = of.fields[name]
        if field.of.shape is Shape.LIST:
            out.setdefault(name, []).append(_value(field.of.part, value))
        else:
            out[name] = _value(field.of, value)
    return out


def _value(of: Type, raw: Any) -> Any:
    match of.shape:
        case Shape.STRUCT:
            return _message(of, raw)
        case Shape.STRING:
            return base64.b64encode(raw).decode() if of.name == "[]uint8" else bytes(raw).decode()
        case Shape.INTEGER:
            return raw - (1 << 64) if raw >= 1 << 63 else raw
        case Shape.BOOLEAN:
            return bool(raw)
        case Shape.NUMBER:
            return struct.unpack("<d", raw)[0]
        case Shape.QUANTITY:
            return bytes(next((v for n, _, v in _fields(raw) if n == 1), b"0")).decode()
        case Shape.INT_OR_STRING:
            parts = {n: v for n, _, v in _fields(raw)}
            return (
                bytes(parts.get(3, b"")).decode() if parts.get(1, 0) else _value(Type(Shape.INTEGER), parts.get(2, 0))
            )
        case Shape.TIME:
            return _time(of, {n: v for n, _, v in _fields(raw)})
        case Shape.LIST:
            return [_value(of.part, value) for _, _, value in _fields(raw)]
    return _free_form(raw)


def _time(of: Type, parts: Mapping[int, int]) -> str | None:
    if not parts:
        return None  # Go's zero time
    seconds = _value(Type(Shape.INTEGER), parts.get(1, 0))
    moment = datetime.fromtimestamp(seconds, UTC)
    if of.name == "MicroTime":
        moment = moment.replace(microsecond=parts.get(2, 0) // 1000)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _free_form(raw: bytes) -> Any:
    """Raw JSON in a message of its own (RawExtension, FieldsV1, JSON)."""
    import json

    inner = next((v for n, _, v in _fields(raw) if n == 1), b"null")
    return json.loads(bytes(inner))
