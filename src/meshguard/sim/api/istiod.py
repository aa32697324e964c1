"""The injector of a simulated istiod: which pods it gives a sidecar, and what the sidecar looks like.

Written from `pkg/kube/inject/inject.go` and `webhook.go` of Istio, and from nothing else: a mistake in meshguard's own
rules must not be repeated here, or their comparison would prove nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from meshguard.sim.api.admission.chain import Attributes
from meshguard.sim.api.selectors import selects
from meshguard.sim.api.status import ApiError, Doc
from meshguard.sim.api.store import Store

_IGNORED = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
_INJECT, _TEMPLATES = "sidecar.istio.io/inject", "inject.istio.io/templates"
_NATIVE = "sidecar.istio.io/nativeSidecar"
_RESOURCES = {"cpu": "proxyCPU", "memory": "proxyMemory"}


class Injector:
    """Answers the path `/inject` of every istiod in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, attributes: Attributes, service: Doc) -> Doc:
        """Return the pod with a sidecar, or as it is. Raises ApiError for templates that are not there."""
        pod, (home, revision) = attributes.doc, self._who(service)
        config = self._config(home, revision)
        if not _required(pod, attributes.namespace, config):
            return pod
        names = _templates(pod, config)
        known = config.get("templates") or {}
        for name in names:
            if name not in known:
                shown = " ".join(sorted(known))
                raise ApiError(400, "", f"requested template {name!r} not found; have {shown}".replace("'", '"'))
        if "sidecar" not in names:
            return _marked(pod, revision, [])
        return _with_sidecar(pod, revision, attributes)

    def _who(self, service: Doc) -> tuple[str, str]:
        """Where the istiod behind a service runs, and which revision it is by its environment."""
        namespace, selector = service["metadata"]["namespace"], service["spec"].get("selector") or {}
        for entry in self._store.all("pods", namespace):
            if selector.items() <= entry.doc["metadata"].get("labels", {}).items():
                variables = entry.doc["spec"]["containers"][0].get("env", ())
                found = next((v.get("value") for v in variables if v["name"] == "REVISION"), "")
                return namespace, str(found or "default")
        return namespace, "default"

    def _config(self, home: str, revision: str) -> Mapping[str, Any]:
        suffix = "" if revision == "default" else f"-{revision}"
        entry = self._store.get("configmaps", home, f"istio-sidecar-injector{suffix}")
        text = entry.doc.get("data", {}).get("config", "") if entry else ""
        found: Mapping[str, Any] = yaml.safe_load(text) or {"policy": "enabled", "templates": {"sidecar": ""}}
        return found


def revised(docs: Sequence[Doc], revision: str) -> Iterator[Doc]:
    """The manifests of an istiod of another revision beside the first one: other names, and only its own webhooks."""
    for doc in docs:
        if doc["kind"] == "Namespace":
            continue
        found: Doc = json.loads(json.dumps(doc).replace('"default"', f'"{revision}"'))
        found["metadata"]["name"] += f"-{revision}"
        if doc["kind"] == "Service":
            found["spec"]["selector"] = {"app": "istiod", "istio.io/rev": revision}
        if doc["kind"] == "Deployment":
            labels = {**found["spec"]["template"]["metadata"]["labels"], "istio": "istiod"}
            found["spec"]["template"]["metadata"]["labels"] = labels
            found["spec"]["selector"] = {"matchLabels": {"app": "istiod", "istio.io/rev": revision}}
            found["spec"]["template"]["spec"].pop("serviceAccountName")
        for webhook in found.get("webhooks", ()):
            webhook["clientConfig"]["service"]["name"] += f"-{revision}"
        if "webhooks" in found:
            found["webhooks"] = [webhook for webhook in found["webhooks"] if webhook["name"].startswith("rev.")]
        yield found


def _required(pod: Doc, namespace: str, config: Mapping[str, Any]) -> bool:
    """`injectRequired` of Istio: what the pod says, then the selectors of the configuration, then its policy."""
    if pod["spec"].get("hostNetwork") or namespace in _IGNORED:
        return False
    if config.get("policy", "enabled") not in ("enabled", "disabled"):
        return False  # an illegal policy switches it off, whatever the pod asks for
    metadata = pod["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    said = labels[_INJECT] if _INJECT in labels else annotations.get(_INJECT, "")
    if said in ("true", "false"):  # anything else counts as not said
        return bool(said == "true")
    if any(_chooses(selector, labels) for selector in config.get("neverInjectSelector") or ()):
        return False
    if any(_chooses(selector, labels) for selector in config.get("alwaysInjectSelector") or ()):
        return True
    return bool(config.get("policy", "enabled") == "enabled")


def _chooses(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Istio leaves an empty selector out of account, which would choose everything."""
    return bool(selector) and selects(selector, labels)


def _templates(pod: Doc, config: Mapping[str, Any]) -> list[str]:
    given = (pod["metadata"].get("annotations") or {}).get(_TEMPLATES)
    if given is None:
        return list(config.get("defaultTemplates") or ["sidecar"])
    return [name.strip() for name in given.split(",")]


def _marked(pod: Doc, revision: str, volumes: list[str]) -> Doc:
    metadata = pod["metadata"]
    init, main = (["istio-init", "istio-proxy"], []) if _is_native(pod) else (["istio-init"], ["istio-proxy"])
    status = {
        "initContainers": init,
        "containers": main or None,
        "volumes": volumes,
        "imagePullSecrets": None,
        "revision": revision,
    }
    names = [container["name"] for container in pod["spec"]["containers"] if container["name"] != "istio-proxy"]
    annotations = {
        "istio.io/rev": revision,
        **(
            {f"kubectl.kubernetes.io/default-{kind}": names[0] for kind in ("container", "logs-container")}
            if names
            else {}
        ),
        **(metadata.get("annotations") or {}),
        "sidecar.istio.io/status": json.dumps(status, separators=(",", ":")),
    }
    return {**pod, "metadata": {**metadata, "annotations": annotations}}


def _is_native(pod: Doc) -> bool:
    return str((pod["metadata"].get("annotations") or {}).get(_NATIVE, "true")) != "false"


def _with_sidecar(pod: Doc, revision: str, attributes: Attributes) -> Doc:
    spec = pod["spec"]
    volumes = ["workload-socket", "credential-socket", "workload-certs", "istio-envoy", "istio-data", "istio-podinfo"]
    marked = _marked(pod, revision, [*volumes, "istio-token", "istiod-ca-cert"])
    metadata = marked["metadata"]
    labels = metadata.get("labels") or {}
    app = labels.get("app.kubernetes.io/name") or labels.get("app") or attributes.name.rpartition("-")[0]
    version = labels.get("app.kubernetes.io/version") or labels.get("version") or "latest"
    added = {
        "security.istio.io/tlsMode": "istio",
        "service.istio.io/canonical-name": app,
        "service.istio.io/canonical-revision": version,
    }
    mounts = [{"name": name, "emptyDir": {}} for name in volumes]
    proxy, init = _proxy(metadata.get("annotations") or {}, native=_is_native(pod)), _init()
    others = [container for container in spec["containers"] if container["name"] != "istio-proxy"]
    own = ("istio-init", "istio-proxy")  # an earlier injection by another webhook is laid over, not repeated
    before = [container for container in spec.get("initContainers", ()) if container["name"] not in own]
    inits = [init, *([proxy] if _is_native(pod) else []), *before]
    new = {
        **spec,
        "initContainers": inits,
        "containers": others if _is_native(pod) else [proxy, *others],
        "volumes": [*mounts, *(volume for volume in spec.get("volumes", ()) if volume["name"] not in volumes)],
    }
    return {**marked, "metadata": {**metadata, "labels": {**added, **labels}}, "spec": new}


def _common(name: str) -> Doc:
    return {
        "name": name,
        "image": "local/proxyv2:dev",
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def _init() -> Doc:
    words = "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020"
    rights = {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]}
    return {
        **_common("istio-init"),
        "args": words.split(" "),
        "resources": _limits({}),
        "securityContext": {"capabilities": rights, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False},
    }


def _proxy(annotations: Mapping[str, str], *, native: bool) -> Doc:
    probe = {
        "httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"},
        "timeoutSeconds": 3,
        "periodSeconds": 15,
        "successThreshold": 1,
        "failureThreshold": 4,
    }
    out: Doc = {
        **_common("istio-proxy"),
        "args": ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local"],
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "resources": _limits(annotations),
        "readinessProbe": probe,
        "securityContext": {"runAsUser": 1337, "runAsGroup": 1337, "runAsNonRoot": True},
        "volumeMounts": [{"name": "istio-envoy", "mountPath": "/etc/istio/proxy"}],
    }
    if native:
        out |= {"restartPolicy": "Always", "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 600}}
    return out


def _limits(annotations: Mapping[str, str]) -> Doc:
    """The defaults, unless one annotation names a value: then only what the annotations name."""
    prefix = "sidecar.istio.io/"
    named = {key: annotations[prefix + word] for key, word in _RESOURCES.items() if prefix + word in annotations}
    limits = {
        key: annotations[f"{prefix}{word}Limit"]
        for key, word in _RESOURCES.items()
        if f"{prefix}{word}Limit" in annotations
    }
    if not named and not limits:
        return {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    return {name: found for name, found in (("requests", named), ("limits", limits)) if found}
