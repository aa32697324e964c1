"""What names, labels and annotations may look like. Source: `k8s.io/apimachinery/pkg/util/validation`."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from meshguard.sim.api.status import Doc, FieldError, forbidden_field, invalid_value, required

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_RANDOM = "bcdfghjklmnpqrstvwxz2456789"

_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
ANNOTATIONS_BYTES = 256 * 1024

_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")

#: Kinds whose names are labels, not subdomains.
_LABEL_NAMED = {"Namespace": 63, "Service": 63, "StatefulSet": 63}
_OWNER_FIELDS = (
    ("apiVersion", "version must not be empty"),
    ("kind", "must not be empty"),
    ("name", "must not be empty"),
    ("uid", "must not be empty"),
)
_FREE_NAMED = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def random_suffix() -> str:
    """Five characters that make no words, as `generateName` appends them."""
    return "".join(secrets.choice(_RANDOM) for _ in range(5))


def label_error(name: str) -> str:
    """Say what is wrong with a DNS label; "" when nothing is."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    return "" if _LABEL.fullmatch(name) else _LABEL_WORDS


def subdomain_error(name: str) -> str:
    """Say what is wrong with a DNS subdomain; "" when nothing is."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    return "" if _SUBDOMAIN.fullmatch(name) else _SUBDOMAIN_WORDS


def qualified_name_error(key: str) -> str:
    """Say what is wrong with the key of a label or an annotation; "" when nothing is."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return "a valid label key must consist of " + _QUALIFIED_WORDS.removeprefix("name part must consist of ")
    if slash and not prefix:
        return "prefix part must be non-empty"
    if slash and subdomain_error(prefix):
        return f"prefix part {subdomain_error(prefix)}"
    if not name:
        return f"name part must be non-empty; {_QUALIFIED_WORDS}"
    if len(name) > 63:
        return "name part must be no more than 63 bytes"
    return "" if _QUALIFIED.fullmatch(name) else _QUALIFIED_WORDS


def label_value_error(value: str) -> str:
    """Say what is wrong with the value of a label; "" when nothing is."""
    if len(value) > 63:
        return "must be no more than 63 bytes"
    return "" if _VALUE.fullmatch(value) else _VALUE_WORDS


def name_error(kind: str, name: str) -> str:
    """Say what is wrong with the name of an object; "" when nothing is."""
    if kind in _FREE_NAMED:
        for bad in ("/", "%"):
            if bad in name:
                return f"may not contain '{bad}'"
        return f"may not be '{name}'" if name in (".", "..") else ""
    if kind in _LABEL_NAMED:
        return label_error(name)
    return subdomain_error(name)


def metadata_errors(kind: str, metadata: Mapping[str, Any]) -> Iterator[FieldError]:
    """Yield what is wrong with the metadata of an object."""
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        wrong = name_error(kind, name)
        if wrong:
            yield invalid_value("metadata.name", name, wrong)
    yield from label_errors(metadata.get("labels") or {}, "metadata.labels")
    yield from annotation_errors(metadata.get("annotations") or {}, "metadata.annotations")
    for owner in metadata.get("ownerReferences") or ():
        for field, words in _OWNER_FIELDS:
            if not owner.get(field):
                yield invalid_value(f"metadata.ownerReferences.{field}", "", words)
    for number, finalizer in enumerate(metadata.get("finalizers") or ()):
        wrong = qualified_name_error(finalizer)
        if wrong:
            yield invalid_value("metadata.finalizers", finalizer, wrong)
        if "/" not in finalizer and finalizer not in _FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid_value(f"metadata.finalizers[{number}]", finalizer, why)


def label_errors(labels: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """Yield what is wrong with labels."""
    for key, value in labels.items():
        wrong = qualified_name_error(key)
        if wrong:
            yield invalid_value(path, key, wrong)
        wrong = label_value_error(value)
        if wrong:
            yield invalid_value(path, value, wrong)


def annotation_errors(annotations: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """Yield what is wrong with annotations."""
    for key in annotations:
        wrong = qualified_name_error(key.lower())
        if wrong:
            yield invalid_value(path, key, wrong)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_BYTES:
        yield FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {ANNOTATIONS_BYTES} bytes")


def immutable_metadata_errors(old: Doc, new: Doc) -> Iterator[FieldError]:
    """Yield which parts of the metadata may not change and did."""
    for field in ("name", "namespace", "uid", "creationTimestamp"):
        if new["metadata"].get(field) and old["metadata"].get(field) != new["metadata"][field]:
            yield invalid_value(f"metadata.{field}", new["metadata"].get(field), "field is immutable")
    if old["metadata"].get("deletionTimestamp"):
        added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
        if added:
            words = " ".join(sorted(added))
            yield forbidden_field(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, "
                f'found new finalizers []string{{"{words}"}}',
            )
