"""What proxies ask for and may use, by annotations of a pod template.

Any one of these annotations drops everything that the injector would have set: requests as well as limits. So whoever
sets one sets them all, and what is not wanted otherwise stays what the injector would have made it.
Source: Istio's injection template, `resources` of the proxy.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshguard.mesh.istio_sidecar.injector import InjectorConfig
from meshguard.model.change import ABSENT, Change, read
from meshguard.model.objects import Workload
from meshguard.model.quantities import amount
from meshguard.model.staging import ProxyLimits

CPU_LIMIT = "sidecar.istio.io/proxyCPULimit"
MEMORY_LIMIT = "sidecar.istio.io/proxyMemoryLimit"
CPU_REQUEST = "sidecar.istio.io/proxyCPU"
MEMORY_REQUEST = "sidecar.istio.io/proxyMemory"
TEMPLATE_ANNOTATIONS = ("spec", "template", "metadata", "annotations")

_LIMITS = {"cpu": CPU_LIMIT, "memory": MEMORY_LIMIT}
LIMIT_NAMES = frozenset(_LIMITS.values())
_REQUESTS = {"cpu": CPU_REQUEST, "memory": MEMORY_REQUEST}
#: What the injector's settings say by default; a limit without a request would be the request as well.
#: Source: Istio's charts, `global.proxy.resources.requests`.
_USUAL_REQUESTS = {"cpu": "100m", "memory": "128Mi"}


def annotation(workload: Workload, name: str, value: str) -> Change:
    """Return the change of a template that sets one annotation."""
    path = (*TEMPLATE_ANNOTATIONS, name)
    return Change(path, read(workload.doc, path), value)


def own_limits(workload: Workload) -> Mapping[str, str]:
    """Return the limits that the workload's template gives to its proxies itself, by resource."""
    annotations = workload.template_annotations
    return {resource: annotations[name] for resource, name in _LIMITS.items() if name in annotations}


def limited(workload: Workload, limits: ProxyLimits, injector: InjectorConfig, *, replace: bool) -> tuple[Change, ...]:
    """Return the changes of a template after which its proxies have these limits; () where nothing changes.

    A limit of the template's own stays unless it shall be replaced. A request is never more than its limit.
    """
    wanted: dict[str, str] = {}
    for resource, given in (("cpu", limits.cpu), ("memory", limits.memory)):
        own = own_limits(workload).get(resource, "")
        limit = (given if replace else own or given) or own or injector.resources.get("limits", {}).get(resource, "")
        if limit:
            wanted[_LIMITS[resource]] = str(limit)
        wanted[_REQUESTS[resource]] = _request(workload, resource, str(limit), injector)
    changes = [annotation(workload, name, value) for name, value in wanted.items()]
    sets_a_limit = any(c.before != c.after and c.path[-1] in LIMIT_NAMES for c in changes)
    return tuple(c for c in changes if c.before != c.after) if sets_a_limit else ()


def _request(workload: Workload, resource: str, limit: str, injector: InjectorConfig) -> str:
    usual = injector.resources.get("requests", {}).get(resource, "") or _USUAL_REQUESTS[resource]
    asked = workload.template_annotations.get(_REQUESTS[resource], "") or str(usual)
    return limit if limit and amount(limit) < amount(asked) else asked


def merged(undone: tuple[Change, ...], changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return both as changes of one object; where the first give the annotations back as a whole, as one change.

    A custom resource would keep an empty mapping, so its mark went in, and goes, with the mapping that held it.
    """
    whole = next((c for c in undone if c.path == TEMPLATE_ANNOTATIONS), None)
    if whole is None or not changes:
        return (*undone, *changes)
    kept = {} if whole.after is ABSENT else dict(whole.after)
    together = Change(whole.path, whole.before, {**kept, **{c.path[-1]: c.after for c in changes}})
    return tuple(together if c is whole else c for c in undone)
