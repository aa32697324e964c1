"""Keys, certificates, tokens and the kubeconfig of a testbed."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testbed import namespaces
from testbed.api_client import ApiClient
from testbed.paths import MAIN, RunPaths


@dataclass(frozen=True)
class User:
    """Somebody whom the API server knows by a static token."""

    name: str
    user_name: str
    groups: tuple[str, ...]


PEOPLE = (
    User("admin", "admin", ("system:masters",)),
    User("viewer", "viewer", ("testbed:viewers",)),
    User("shop-admin", "shop-admin", ("testbed:shop-admins",)),
    User("stranger", "stranger", ()),
)
"""Users with a context in the kubeconfig. What their groups may do stands in ``manifests/users.yaml``."""

COMPONENTS = (
    User("controller-manager", "system:kube-controller-manager", ("system:masters",)),
    User("scheduler", "system:kube-scheduler", ("system:masters",)),
    User("kubelet", "system:node:node1", ("system:nodes",)),
    User("kube-proxy", "system:kube-proxy", ()),
    User("kwok", "testbed:kwok", ("system:masters",)),
    User("prometheus", "testbed:prometheus", ("testbed:viewers",)),
    User("status", "testbed:status", ("system:masters",)),
)
"""Users of the components; each with its own name, so that the audit log tells them apart."""


def context_name(paths: RunPaths, user: User) -> str:
    """Return ``testbed`` for the administrator of the full testbed, ``testbed-NAME`` for a light cluster's."""
    base = "testbed" if paths.name == MAIN else f"testbed-{paths.name}"
    return base if user.name == "admin" else f"{base}-as-{user.name}"


def component_kubeconfig(paths: RunPaths, name: str) -> Path:
    """Return the path of the kubeconfig of one of :data:`COMPONENTS`."""
    return paths.credentials / f"{name}.kubeconfig"


def api_client(paths: RunPaths) -> ApiClient:
    """Return a client for the testbed's own questions, which the audit log leaves out."""
    return ApiClient(component_kubeconfig(paths, "status"))


def create(paths: RunPaths, api_port: int) -> None:
    """Make everything anew: certificate authority, server certificate, service-account key, tokens, kubeconfigs."""
    folder = paths.credentials
    _certificates(folder)
    tokens = {user.name: secrets.token_urlsafe(24) for user in (*PEOPLE, *COMPONENTS)}
    rows = [f'{tokens[u.name]},{u.user_name},{u.user_name},"{",".join(u.groups)}"' for u in (*PEOPLE, *COMPONENTS)]
    _write_private(folder / "tokens.csv", "\n".join(rows) + "\n")
    for user in COMPONENTS:
        _write_private(folder / f"{user.name}.token", tokens[user.name])
        _write_kubeconfig(paths, component_kubeconfig(paths, user.name), api_port, (user,), tokens)
    _write_kubeconfig(paths, paths.kubeconfig, api_port, PEOPLE, tokens)


def _certificates(folder: Path) -> None:
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    authority = ("-x509", "-subj", "/CN=meshguard-testbed", "-days", "3650")
    ca_key, ca = str(folder / "ca.key"), str(folder / "ca.crt")
    _openssl("req", *authority, *new_key, "-keyout", ca_key, "-out", ca)
    names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    addresses = ("127.0.0.1", namespaces.NODE_ADDRESS, namespaces.API_SERVICE_ADDRESS)
    alternatives = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)])
    signed = ("-x509", "-CA", ca, "-CAkey", ca_key, "-subj", "/CN=kube-apiserver", "-days", "3650")
    extensions = ("-addext", f"subjectAltName={alternatives}", "-addext", "basicConstraints=critical,CA:false")
    key, certificate = str(folder / "apiserver.key"), str(folder / "apiserver.crt")
    _openssl("req", *signed, *extensions, *new_key, "-keyout", key, "-out", certificate)
    accounts = str(folder / "service-accounts.key")
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", accounts)
    _openssl("ec", "-in", accounts, "-pubout", "-out", str(folder / "service-accounts.pub"))


def _write_kubeconfig(
    paths: RunPaths, file: Path, api_port: int, users: tuple[User, ...], tokens: dict[str, str]
) -> None:
    authority = base64.b64encode((paths.credentials / "ca.crt").read_bytes()).decode()
    cluster = "testbed" if paths.name == MAIN else f"testbed-{paths.name}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {
                    "server": f"https://127.0.0.1:{api_port}",
                    "certificate-authority-data": authority,
                },
            }
        ],
        "users": [{"name": user.name, "user": {"token": tokens[user.name]}} for user in users],
        "contexts": [
            {"name": context_name(paths, user), "context": {"cluster": cluster, "user": user.name}} for user in users
        ],
        "current-context": context_name(paths, users[0]),
    }
    _write_private(file, json.dumps(config, indent=1))  # JSON is YAML


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
