"""Objects of the cluster as values: a reference, a trimmed document, and typed views on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Doc = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Names one object: kind, namespace ("" when cluster-wide) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read back what `str()` wrote. Raises ValueError when the text is not a reference."""
        kind, _, rest = text.partition(" ")
        if not kind or not rest:
            raise ValueError(f"not an object reference: {text!r}")
        namespace, slash, name = rest.partition("/")
        return cls(kind, namespace, name) if slash else cls(kind, "", rest)


def dig(doc: Any, *path: str | int, default: Any = None) -> Any:
    """Return what lies at `path` in nested mappings and lists, or `default` where a part is missing."""
    for key in path:
        if isinstance(key, int):
            if not isinstance(doc, list | tuple) or not -len(doc) <= key < len(doc):
                return default
        elif not isinstance(doc, Mapping) or key not in doc:
            return default
        doc = doc[key]
    return default if doc is None else doc


@dataclass(frozen=True)
class Resource:
    """One object of the cluster, without the parts that meshguard must not know (values of environment variables)."""

    ref: Ref
    doc: Doc = field(repr=False)

    @property
    def uid(self) -> str:
        """The identity that survives a rename and dies with a re-creation."""
        return str(dig(self.doc, "metadata", "uid", default=""))

    @property
    def resource_version(self) -> str:
        """The version for optimistic concurrency."""
        return str(dig(self.doc, "metadata", "resourceVersion", default=""))

    @property
    def created(self) -> str:
        """RFC 3339 time of creation; the oldest policy of a scope wins in Istio."""
        return str(dig(self.doc, "metadata", "creationTimestamp", default=""))

    @property
    def labels(self) -> Mapping[str, str]:
        """The object's own labels."""
        return dig(self.doc, "metadata", "labels", default={})  # type: ignore[no-any-return]

    @property
    def annotations(self) -> Mapping[str, str]:
        """The object's own annotations."""
        return dig(self.doc, "metadata", "annotations", default={})  # type: ignore[no-any-return]

    @property
    def spec(self) -> Mapping[str, Any]:
        """The object's specification."""
        return dig(self.doc, "spec", default={})  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Pod(Resource):
    """A pod as seen, not as declared."""

    @property
    def ip(self) -> str:
        """The pod's address, "" before it has one."""
        return str(dig(self.doc, "status", "podIP", default=""))

    @property
    def terminating(self) -> bool:
        """Deleted, but not gone."""
        return dig(self.doc, "metadata", "deletionTimestamp") is not None

    @property
    def finished(self) -> bool:
        """Ran to its end; it serves nobody any more."""
        return dig(self.doc, "status", "phase") in ("Succeeded", "Failed")

    @property
    def ready(self) -> bool:
        """The Ready condition, which needs every container, native sidecars included."""
        conditions = dig(self.doc, "status", "conditions", default=[])
        return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)

    @property
    def host_network(self) -> bool:
        """Shares the node's network; never injected."""
        return bool(dig(self.doc, "spec", "hostNetwork", default=False))

    @property
    def node(self) -> str:
        """The node it runs on."""
        return str(dig(self.doc, "spec", "nodeName", default=""))

    @property
    def owner(self) -> tuple[str, str]:
        """Kind and name of the controlling owner, ("", "") for a bare pod."""
        return controller_of(self.doc)

    @property
    def containers(self) -> tuple[Mapping[str, Any], ...]:
        """The ordinary containers of its spec."""
        return tuple(dig(self.doc, "spec", "containers", default=[]))

    @property
    def init_containers(self) -> tuple[Mapping[str, Any], ...]:
        """The init containers of its spec, native sidecars among them."""
        return tuple(dig(self.doc, "spec", "initContainers", default=[]))


@dataclass(frozen=True)
class Workload(Resource):
    """Something with a pod template: one of the kinds that restart, a Job or a CronJob."""

    @property
    def template(self) -> Mapping[str, Any]:
        """The pod template (for a CronJob, the one inside its job template)."""
        if self.ref.kind == "CronJob":
            return dig(self.doc, "spec", "jobTemplate", "spec", "template", default={})  # type: ignore[no-any-return]
        return dig(self.doc, "spec", "template", default={})  # type: ignore[no-any-return]

    @property
    def template_labels(self) -> Mapping[str, str]:
        """Labels that its pods will carry."""
        return dig(self.template, "metadata", "labels", default={})  # type: ignore[no-any-return]

    @property
    def template_annotations(self) -> Mapping[str, str]:
        """Annotations that its pods will carry."""
        return dig(self.template, "metadata", "annotations", default={})  # type: ignore[no-any-return]

    @property
    def template_containers(self) -> tuple[Mapping[str, Any], ...]:
        """The ordinary containers of its template."""
        return tuple(dig(self.template, "spec", "containers", default=[]))

    @property
    def replicas(self) -> int:
        """How many pods it wants; a DaemonSet wants one per node that fits, as its status says."""
        if self.ref.kind == "DaemonSet":
            return int(dig(self.doc, "status", "desiredNumberScheduled", default=0))
        if self.ref.kind == "CronJob":
            return 0
        return int(dig(self.doc, "spec", "replicas", default=1))


@dataclass(frozen=True)
class Namespace(Resource):
    """A namespace; its labels decide about injection."""

    @cached_property
    def name(self) -> str:
        """The namespace's name."""
        return self.ref.name


def controller_of(doc: Doc) -> tuple[str, str]:
    """Return kind and name of the owner that controls the object, ("", "") where nobody does."""
    for owner in dig(doc, "metadata", "ownerReferences", default=[]):
        if owner.get("controller"):
            return str(owner["kind"]), str(owner["name"])
    return "", ""
