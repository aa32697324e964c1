"""What two servers may say differently, made the same; everything else has to be equal.

Each rule here hides something, so each has a seeded defect next to it (`api_defects`) that must be seen in spite of it.
"""

from __future__ import annotations

import json
import re
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ADDRESS = re.compile(r"\b10\.(96|100|244)\.\d+\.\d+\b")
_HASH = re.compile(r"(?<=-hash=)[a-z0-9]{8,10}|(?<=-)[bcdfghjklmnpqrstvwxz2456789]{8,10}(?=-|\"|'|$| )")
_RANDOM = re.compile(r"(?<=-)[bcdfghjklmnpqrstvwxz2456789]{5}(?=\"|'|$| |:)")
_NODE = re.compile(r"\b(fake|node)[123]\b")
_AGE = re.compile(r"\b\d+(ms|s|m\d*s?)\b")
_RIGHTS = re.compile(r"\b(testbed|sim):(?=viewer|mesh-viewers)")
_SNAPSHOT = re.compile(r"in record \(\d+\)")
_PATCHED = re.compile(r"(Invalid value: )\"\{.*\}\": (?=json: )", re.DOTALL)
_VERSIONS = ("resourceVersion", "resourceVersionMatch")
_DROPPED = ("managedFields", "selfLink", "continue", "storageVersionHash", "serverAddress", "ca.crt")
#: Fields of pods and nodes that a kubelet writes; the two clusters have different ones.
_OF_KUBELET = ("hostIP", "hostIPs", "podIP", "podIPs", "imageID", "containerID", "lastProbeTime", "terminatingReplicas")
_KEPT_ORDER = ("containers", "initContainers", "cells", "columnDefinitions", "rows", "rules")


def normal(value: Any, key: str = "") -> Any:
    """Return the value without what may differ."""
    if isinstance(value, dict):
        return _mapping(value)
    if isinstance(value, list):
        items = [normal(item, key) for item in value]
        if key in _KEPT_ORDER or not items:
            return items
        return (
            items
            if key in ("events", "out", "err")
            else sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
        )
    return _text(value, key) if isinstance(value, str) else value


def _mapping(value: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for name, inner in value.items():
        if name in _DROPPED or name in _OF_KUBELET:
            continue
        if name in _VERSIONS and isinstance(inner, str) and inner.isdigit():
            out[name] = "VERSION"
        elif name == "description":
            out[name] = ""
        elif name in ("pod-template-hash", "controller-revision-hash") and isinstance(inner, str):
            out[name] = "HASH"
        elif name == "nodePort":
            out[name] = "PORT"
        else:
            out[name] = normal(inner, name)
    return out


def _text(text: str, key: str) -> str:
    if key in ("kubectl.kubernetes.io/last-applied-configuration",):
        return json.dumps(json.loads(text), sort_keys=True)
    text = _SNAPSHOT.sub("in record (VERSION)", _RIGHTS.sub("OUR:", text))
    text = _PATCHED.sub(r"\1DOCUMENT: ", text)
    for pattern, word in (
        (_UUID, "UID"),
        (_TIME, "TIME"),
        (_ADDRESS, "ADDRESS"),
        (_NODE, "NODE"),
        (_HASH, "HASH"),
        (_RANDOM, "RANDOM"),
    ):
        text = pattern.sub(word, text)
    return _AGE.sub("AGE", text)


def differences(real: Any, other: Any, path: str = "") -> list[str]:
    """Return where two values differ, as sentences."""
    if isinstance(real, dict) and isinstance(other, dict):
        out = []
        for name in sorted(real.keys() | other.keys()):
            at = f"{path}.{name}"
            if name not in other:
                out.append(f"{at}: {_short(real[name])} is missing")
            elif name not in real:
                out.append(f"{at}: {_short(other[name])} should not be there")
            else:
                out += differences(real[name], other[name], at)
        return out
    if isinstance(real, list) and isinstance(other, list) and len(real) == len(other):
        return [
            words
            for number, pair in enumerate(zip(real, other, strict=True))
            for words in differences(*pair, f"{path}[{number}]")
        ]
    same = real == other and type(real) is type(other)
    return [] if same else [f"{path}: should be {_short(real)}, is {_short(other)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) < 700 else text[:700] + "..."
