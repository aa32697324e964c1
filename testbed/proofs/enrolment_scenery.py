"""What the enrolment proof needs in the cluster: namespaces, webhooks and injectors that touch nothing else.

Every webhook that is created here selects only namespaces that carry this proof's own mark, so no other pod of the
cluster can meet it. Their rules are Istio's own charts, rendered; three more real istiods, with nothing to do but
inject, have the settings that the cluster's own istiods must not be given.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed import binaries, commands
from testbed.api import Testbed
from testbed.waiting import wait_until

MARK = "meshguard-prove"
_READY_S = 180
_REVISION, _TAG = "revision-to-be", "tag-to-be"


@dataclass(frozen=True)
class Labels:
    """A namespace of the proof, by the labels that decide; the names are made up by `Scenery`."""

    name: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Settings:
    """Settings of an injector of our own."""

    revision: str
    policy: str


@dataclass(frozen=True)
class Scenery:
    """Names of everything that was made."""

    stable: str
    """A tag of the default revision."""
    canary: str
    """A tag of the revision `skew`."""
    both: str
    """A tag that two configurations serve, of both revisions."""
    gone: str
    """A leftover tag: it points to an istiod that was deleted."""
    ignored: str
    """A leftover tag whose webhook fails open."""
    injectors: tuple[Settings, ...]
    system: str
    """The namespace of the injectors."""

    @property
    def run(self) -> str:
        """The value of the mark."""
        return self.system.removeprefix(f"{MARK}-")


def named() -> Scenery:
    """Make up names that nobody else has."""
    run = secrets.token_hex(3)
    return Scenery(
        stable=f"stable-{run}",
        canary=f"canary-{run}",
        both=f"both-{run}",
        gone=f"gone-{run}",
        ignored=f"ignored-{run}",
        injectors=tuple(Settings(f"{policy}-{run}", policy) for policy in ("enabled", "disabled", "illegal")),
        system=f"{MARK}-{run}",
    )


@contextmanager
def built(testbed: Testbed, scenery: Scenery, namespaces: Sequence[Labels]) -> Iterator[None]:
    """Build it, and take it down again whatever happens."""
    try:
        _apply(testbed, [_namespace(scenery, labels) for labels in (Labels(scenery.system, {}), *namespaces)])
        with tempfile.TemporaryDirectory() as scratch:
            certificate, key = _certificate(Path(scratch), scenery)
        _apply(testbed, [*_injectors(testbed, scenery, certificate, key)])
        _wait(testbed, scenery, namespaces)
        _apply(testbed, [*_webhooks(testbed, scenery, certificate)])
        yield
    finally:
        marked = ("-l", f"{MARK}={scenery.run}", "--ignore-not-found", "--wait=false")
        for kinds in ("mutatingwebhookconfigurations", "namespaces", "clusterroles,clusterrolebindings"):
            testbed.kubectl("delete", kinds, *marked)


def _apply(testbed: Testbed, objects: Sequence[dict[str, Any]]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    testbed.kubectl("apply", "--server-side", f"--field-manager={MARK}", "-f", "-", text=text)


def _namespace(scenery: Scenery, labels: Labels) -> dict[str, Any]:
    metadata = {"name": labels.name, "labels": {**labels.labels, MARK: scenery.run}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _wait(testbed: Testbed, scenery: Scenery, namespaces: Sequence[Labels]) -> None:
    """Until every namespace has its service account (no pod is admitted before) and the injectors answer."""
    selector = f"{MARK}={scenery.run}"
    testbed.kubectl(
        "-n", scenery.system, "wait", "pods", "-l", selector, "--for=condition=Ready", f"--timeout={_READY_S}s"
    )

    def accounts() -> set[str]:
        found = testbed.kubectl("get", "serviceaccounts", "-A", "--field-selector=metadata.name=default", "-o", "json")
        return {account["metadata"]["namespace"] for account in json.loads(found)["items"]}

    wanted = {labels.name for labels in namespaces}
    wait_until(lambda: wanted <= accounts(), _READY_S, "the namespaces' service accounts", 0.5)


def _webhooks(testbed: Testbed, scenery: Scenery, certificate: str) -> Iterator[dict[str, Any]]:
    chart = _rendered(_REVISION, [_TAG])
    tag = next(manifest for manifest in chart if "istio.io/tag" in manifest["metadata"]["labels"])
    own = next(manifest for manifest in chart if "istio.io/tag" not in manifest["metadata"]["labels"])
    default = next(iter(_rendered("", [])))

    def configuration(name: str, manifest: dict[str, Any], revision: str, served: str = "") -> dict[str, Any]:
        text = json.dumps(manifest).replace(_REVISION, revision).replace(_TAG, served)
        made: dict[str, Any] = json.loads(text)
        made["metadata"] = {"name": f"{MARK}-{name}", "labels": {**made["metadata"]["labels"], MARK: scenery.run}}
        for webhook in made["webhooks"]:
            only_ours = {"key": MARK, "operator": "In", "values": [scenery.run]}
            webhook["namespaceSelector"]["matchExpressions"].append(only_ours)
        return made

    def serve(made: dict[str, Any], namespace: str, service: str, authority: str) -> dict[str, Any]:
        for webhook in made["webhooks"]:
            webhook["clientConfig"]["service"].update(namespace=namespace, name=service)
            webhook["clientConfig"]["caBundle"] = authority
        return made

    for revision, names in (("default", (scenery.stable, scenery.both)), ("skew", (scenery.canary, scenery.both))):
        service = "istiod" if revision == "default" else f"istiod-{revision}"
        for name in names:
            made = configuration(f"{name}-{revision}", tag, revision, name)
            yield serve(made, "istio-system", service, _authority_of(testbed, revision))
    for name, policy in ((scenery.gone, "Fail"), (scenery.ignored, "Ignore")):
        made = configuration(name, tag, "deleted", name)
        for webhook in made["webhooks"]:
            webhook["failurePolicy"] = policy
        yield made
    for injector in scenery.injectors:
        made = configuration(injector.revision, own, injector.revision)
        yield serve(made, scenery.system, f"istiod-{injector.revision}", certificate)
    auto = [webhook for webhook in default["webhooks"] if webhook["name"].startswith("auto.")]
    made = configuration(f"auto-{scenery.run}", {**default, "webhooks": auto}, "default")
    only_auto = {"key": f"{MARK}-auto", "operator": "Exists"}
    made["webhooks"][0]["namespaceSelector"]["matchExpressions"].append(only_auto)
    yield serve(made, "istio-system", "istiod", _authority_of(testbed, "default"))


def _authority_of(testbed: Testbed, revision: str) -> str:
    """Return the certificate that the API server trusts for the cluster's own istiod of a revision."""
    name = "istio-sidecar-injector" + ("" if revision == "default" else f"-{revision}")
    found = testbed.kubectl("get", "mutatingwebhookconfiguration", name, "-o", "json")
    return str(json.loads(found)["webhooks"][0]["clientConfig"]["caBundle"])


def _rendered(revision: str, tags: list[str]) -> list[dict[str, Any]]:
    """Return the MutatingWebhookConfigurations of Istio's own charts."""
    values = {"revisionTags": tags, "sidecarInjectorWebhook": {"enableNamespacesByDefault": True}}
    operator = {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {"profile": "minimal", "revision": revision, "values": values},
    }
    istioctl = binaries.KUBERNETES.folder / "istioctl"
    text = commands.run(
        [istioctl, "manifest", "generate", "-f", "-", "-d", binaries.istio_charts()], text=json.dumps(operator)
    )
    wanted = (part for part in text.split("\n---\n") if "kind: MutatingWebhookConfiguration" in part)
    return [yaml.load(part, Loader=yaml.CSafeLoader) for part in wanted]


def _certificate(folder: Path, scenery: Scenery) -> tuple[str, str]:
    """Make a certificate that signs itself, and its key, for all injectors; both in base64."""
    names = [f"DNS:istiod-{injector.revision}.{scenery.system}.svc" for injector in scenery.injectors]
    key, certificate = folder / "key", folder / "certificate"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-subj", f"/CN={MARK}", "-days", "2", "-noenc"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", f"subjectAltName={','.join(names)}", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return tuple(base64.b64encode(file.read_bytes()).decode() for file in (certificate, key))  # type: ignore[return-value]


def _injectors(testbed: Testbed, scenery: Scenery, certificate: str, key: str) -> Iterator[dict[str, Any]]:
    """Real istiods that may read everything and write nothing, so that all they can do is inject."""
    found = testbed.kubectl("-n", "istio-system", "get", "configmap", "istio-sidecar-injector", "-o", "json")
    data = json.loads(found)["data"]
    config = yaml.load(data["config"], Loader=yaml.CSafeLoader)
    yield from _reader(scenery)
    certificates = {"tls.crt": certificate, "tls.key": key, "root-cert.pem": certificate}
    yield _object(scenery, "v1", "Secret", "certificates", data=certificates)
    for injector in scenery.injectors:
        config["policy"] = injector.policy
        config["neverInjectSelector"] = [{}, {"matchLabels": {"never": "yes"}}]
        config["alwaysInjectSelector"] = [{}, {"matchExpressions": [{"key": "always", "operator": "Exists"}]}]
        stored = {"config": yaml.safe_dump(config), "values": data["values"]}
        yield _object(scenery, "v1", "ConfigMap", f"istio-sidecar-injector-{injector.revision}", data=stored)
        labels = {"app": injector.revision}
        service = {"selector": labels, "ports": [{"port": 443, "targetPort": 15017}]}
        yield _object(scenery, "v1", "Service", f"istiod-{injector.revision}", spec=service)
        yield _object(scenery, "v1", "Pod", injector.revision, labels=labels, spec=_pilot(scenery, injector))


def _reader(scenery: Scenery) -> Iterator[dict[str, Any]]:
    """The account of the injectors."""
    group, name = "rbac.authorization.k8s.io", scenery.system
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    binding = {
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "injector", "namespace": scenery.system}],
    }
    metadata = {"name": name, "labels": {MARK: scenery.run}}
    yield _object(scenery, "v1", "ServiceAccount", "injector")
    yield {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}
    yield {"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": metadata, **binding}


def _pilot(scenery: Scenery, injector: Settings) -> dict[str, Any]:
    environment = {
        "REVISION": injector.revision,
        "POD_NAME": injector.revision,
        "POD_NAMESPACE": scenery.system,
        "CLUSTER_ID": "Kubernetes",
        "ENABLE_CA_SERVER": "false",
        "INJECTION_WEBHOOK_CONFIG_NAME": "",
        "VALIDATION_WEBHOOK_CONFIG_NAME": "",
    }
    # Both folders are where istiod looks for certificates that somebody else has made for it.
    folders = {"tls": "/var/run/secrets/istiod/tls", "ca": "/var/run/secrets/istiod/ca"}
    container = {
        "name": "discovery",
        "image": "local/pilot:dev",
        "imagePullPolicy": "IfNotPresent",
        "args": ["discovery"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in folders.items()],
    }
    return {
        "serviceAccountName": "injector",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": name, "secret": {"secretName": "certificates"}} for name in folders],
    }


def _object(
    scenery: Scenery, version: str, kind: str, name: str, labels: dict[str, str] | None = None, **parts: Any
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": scenery.system, "labels": {**(labels or {}), MARK: scenery.run}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}
