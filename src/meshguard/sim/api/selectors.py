"""Label and field selectors as they come in a query. Source: `k8s.io/apimachinery/pkg/labels` and `pkg/fields`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from meshguard.sim.api.names import label_value_error, qualified_name_error
from meshguard.sim.api.status import ApiError, Doc, bad_request

Predicate = Callable[[Doc], bool]
_SET = re.compile(r"(?P<key>[^\s!=<>,()]+)\s+(?P<op>in|notin)\s+\((?P<values>[^()]*)\)")
_EQUALS = re.compile(r"(?P<key>[^\s!=<>,()]+)\s*(?P<op>==|=|!=|<|>)\s*(?P<values>[^\s!=<>,()]*)")
_EXISTS = re.compile(r"(?P<not>!?)\s*(?P<key>[^\s!=<>,()]+)")

#: Fields that can be selected beside `metadata.name` and `metadata.namespace`.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "jobs.batch": ("status.successful",),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
}


def label_predicate(text: str) -> Predicate:
    """Return the test that a label selector in a query makes. Raises ApiError (400)."""
    tests = [_requirement(part.strip(), text) for part in _parts(text) if part.strip()]
    return lambda doc: all(test(doc["metadata"].get("labels") or {}) for test in tests)


def _parts(text: str) -> list[str]:
    return re.split(r",(?![^()]*\))", text)


def _requirement(part: str, whole: str) -> Callable[[Mapping[str, str]], bool]:
    for form in (_SET, _EQUALS, _EXISTS):
        match = form.fullmatch(part)
        if match:
            break
    else:
        raise bad_request("found '=', expected: ',' or 'end of string'")
    key = match["key"]
    wrong = qualified_name_error(key)
    if wrong:
        raise _unreadable(f'<nil>: Invalid value: "{key}": {wrong}')
    if form is _EXISTS:
        absent = match["not"] == "!"
        return lambda labels: (key not in labels) == absent
    values = {value.strip() for value in match["values"].split(",")}
    if match["op"] in "<>":
        return _compared(key, match["op"], match["values"])
    for value in sorted(values):
        wrong = label_value_error(value)
        if wrong:
            raise _unreadable(f'values[0][{key}]: Invalid value: "{value}": {wrong}')
    if match["op"] in ("=", "==", "in"):
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _compared(key: str, operator: str, value: str) -> Callable[[Mapping[str, str]], bool]:
    try:
        limit = int(value)
    except ValueError:
        raise _unreadable(
            f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
        ) from None

    def test(labels: Mapping[str, str]) -> bool:
        found = labels.get(key, "")
        if not re.fullmatch(r"-?\d+", found):
            return False
        return int(found) > limit if operator == ">" else int(found) < limit

    return test


def _unreadable(why: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {why}")


def field_predicate(text: str, storage: str, kind: str, selectable: tuple[str, ...] = ()) -> Predicate:
    """Return the test that a field selector in a query makes. Raises ApiError (400) for a field that has none."""
    tests: list[Predicate] = []
    known = ("metadata.name", "metadata.namespace", *FIELDS.get(storage, ()), *selectable)
    for part in text.split(","):
        if not part:
            continue
        match = re.fullmatch(r"([^=!]+)(!=|==|=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        name, operator, value = match.groups()
        if name not in known:
            raise bad_request(_unsupported(name, storage, kind))
        tests.append(_field_test(name, value, operator == "!="))
    return lambda doc: all(test(doc) for test in tests)


def _unsupported(name: str, storage: str, kind: str) -> str:
    if storage in FIELDS:
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _field_test(name: str, value: str, differs: bool) -> Predicate:
    path = name.split(".")
    if name == "reportingComponent":
        path = ["reportingComponent"]

    def test(doc: Doc) -> bool:
        found: Any = doc
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if name == "source" and isinstance(found, dict):
            found = found.get("component")
        text = "" if found is None else str(found).lower() if isinstance(found, bool) else str(found)
        if name in ("spec.unschedulable", "spec.hostNetwork") and not text:
            text = "false"
        return (text == value) != differs

    return test


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a LabelSelector of a document selects these labels; None selects nothing, an empty one all."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        key, values = expression["key"], expression.get("values") or ()
        match expression["operator"]:
            case "In" if labels.get(key) not in values or key not in labels:
                return False
            case "NotIn" if key in labels and labels[key] in values:
                return False
            case "Exists" if key not in labels:
                return False
            case "DoesNotExist" if key in labels:
                return False
    return True
