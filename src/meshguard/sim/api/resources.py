"""Which resources the API serves: the built-in ones as data, and those of custom resource definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import Any

import yaml

from meshguard.sim.api import schema, structural
from meshguard.sim.api.schema import Type
from meshguard.sim.api.status import Doc

#: Served by Kubernetes under a second group or version as well; here under the preferred one only.
_LEFT_OUT = {("events.k8s.io", "v1", "events"), ("autoscaling", "v1", "horizontalpodautoscalers")}
_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_STATUS_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of an object that has an address of its own."""

    verbs: tuple[str, ...]
    kind: str
    group: str = ""
    version: str = ""


@dataclass(frozen=True, eq=False)
class Resource:
    """A resource in one version."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    custom: Mapping[str, Any] | None = None
    """The version of the custom resource definition; None for a built-in resource."""

    @property
    def api_version(self) -> str:
        """`apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def storage(self) -> str:
        """Under what its objects are kept, whatever the version."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        """The kind of a list of it."""
        return f"{self.kind}List"

    @cached_property
    def type(self) -> Type:
        """The type of its objects."""
        if self.custom is None:
            return schema.type_of(self.group, self.version, self.kind)
        return structural.type_of_schema(self.custom_schema)

    @cached_property
    def has_rules(self) -> bool:
        """Whether its schema has rules in CEL, which are not evaluated here."""
        return "x-kubernetes-validations" in json.dumps(self.custom)

    @cached_property
    def custom_schema(self) -> Mapping[str, Any]:
        """The structural schema of a custom resource, with the fields that every object has."""
        assert self.custom is not None
        found = self.custom.get("schema", {}).get("openAPIV3Schema", {"type": "object"})
        properties = {
            **found.get("properties", {}),
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        }
        return {**found, "properties": properties}


class Registry:
    """All resources that are served now."""

    def __init__(self) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        for resource in _built_in():
            self.add(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_path.values())

    def add(self, resource: Resource) -> None:
        """Serve a resource."""
        self._by_path[resource.group, resource.version, resource.plural] = resource

    def remove(self, group: str, plural: str) -> None:
        """Serve a resource no more."""
        for key in [key for key in self._by_path if key[0] == group and key[2] == plural]:
            del self._by_path[key]

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource at a path of the API."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource of a kind."""
        group, _, version = api_version.rpartition("/")
        found = (r for r in self if (r.group, r.version, r.kind) == (group, version, kind))
        return next(found, None)

    def stored(self, group: str, plural: str) -> Resource | None:
        """Return a resource in any of its versions."""
        return next((r for r in self if (r.group, r.plural) == (group, plural)), None)

    def has_version(self, group: str, version: str) -> bool:
        """Tell whether anything is served in a version of a group."""
        return any(key[:2] == (group, version) for key in self._by_path)

    def groups(self) -> dict[str, list[str]]:
        """The groups but for the core one, each with its versions, the preferred first."""
        out: dict[str, list[str]] = {}
        for group, version, _ in self._by_path:
            if group and version not in out.setdefault(group, []):
                out[group].append(version)
        return {group: sorted(versions, key=_rank, reverse=True) for group, versions in out.items()}


def _rank(version: str) -> tuple[int, int, int]:
    """`v2` before `v1` before `v1beta1` before `v1alpha3`. Source: `version.CompareKubeAwareVersionStrings`."""
    for rank, word in ((1, "beta"), (0, "alpha")):
        if word in version:
            major, _, minor = version.removeprefix("v").partition(word)
            return rank, int(major), int(minor or 0)
    return 2, int(version.removeprefix("v")), 0


def _built_in() -> Iterator[Resource]:
    for row in packaged("resources.json"):
        if (row["group"], row["version"], row["plural"]) in _LEFT_OUT:
            continue
        yield Resource(
            row["group"],
            row["version"],
            row["plural"],
            row["kind"],
            row["singular"],
            row["namespaced"],
            tuple(row["verbs"]),
            tuple(row["shortNames"]),
            tuple(row["categories"]),
            {
                name: Subresource(tuple(sub["verbs"]), sub["kind"], sub["group"], sub["version"])
                for name, sub in row["subresources"].items()
            },
        )


def of_definition(crd: Doc) -> Iterator[Resource]:
    """The resources that a CustomResourceDefinition defines."""
    spec, names = crd["spec"], crd["spec"]["names"]
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = {}
        if "status" in version.get("subresources", {}):
            subresources["status"] = Subresource(_STATUS_VERBS, names["kind"])
        if "scale" in version.get("subresources", {}):
            subresources["scale"] = Subresource(_STATUS_VERBS, "Scale", "autoscaling", "v1")
        yield Resource(
            spec["group"],
            version["name"],
            names["plural"],
            names["kind"],
            names.get("singular") or names["kind"].lower(),
            spec["scope"] == "Namespaced",
            _VERBS,
            tuple(names.get("shortNames", ())),
            tuple(names.get("categories", ())),
            subresources,
            version,
        )


def packaged_definitions(*names: str) -> Iterator[Doc]:
    """The custom resource definitions that come with the simulator, `istio` and `gateway`."""
    for name in names:
        yield from packaged(f"crds-{name}.json")


def packaged(name: str) -> list[Doc]:
    """The documents of a file that comes with the simulator."""
    text = files("meshguard.sim.api").joinpath(f"data/{name}").read_text()
    found: list[Doc] = json.loads(text) if name.endswith(".json") else list(yaml.safe_load_all(text))
    return found
