"""Proofs break things on purpose, so they touch the testbed of this machine and nothing else, and say which that is.

What KUBECONFIG names is never used. A kubeconfig of the testbed that somebody has changed is refused before the first
write: its server must be the testbed's own port on the loopback, under the certificate authority that the testbed made.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from testbed import credentials, sandbox
from testbed.api import Testbed
from testbed.errors import TestbedError
from testbed.paths import MAIN, RunPaths

_SYSTEM = "/api/v1/namespaces/kube-system"


class WrongCluster(TestbedError):
    """A proof would not touch the testbed of this machine; nothing was changed."""


def up(name: str = MAIN) -> Testbed:
    """Bring the testbed up and return it, after saying which cluster it is. Raises WrongCluster, TestbedError."""
    testbed = Testbed(name)
    testbed.up()
    print(said(RunPaths(name)), flush=True)
    return testbed


def said(paths: RunPaths) -> str:
    """Say which cluster a proof touches. Raises WrongCluster unless it is the testbed's own, and answers as such."""
    context, server = checked(paths)
    seen = json.loads(Testbed(paths.name).kubectl("get", "namespace", "kube-system", "-o", "json"))
    answered = str(seen["metadata"]["uid"])
    own = str(credentials.api_client(paths).get(_SYSTEM)["metadata"]["uid"])
    if answered != own:
        raise WrongCluster(f"{paths.kubeconfig}: cluster {answered} answers, the testbed is {own}")
    elsewhere = os.environ.get("KUBECONFIG", "")
    left = f"; {elsewhere} (KUBECONFIG) is not touched" if elsewhere and Path(elsewhere) != paths.kubeconfig else ""
    return f"cluster: the testbed of this machine, context {context} at {server}, UID {own}{left}"


def checked(paths: RunPaths) -> tuple[str, str]:
    """Return context and server of the testbed's kubeconfig. Raises WrongCluster for one that leads elsewhere."""
    config = _read(paths.kubeconfig)
    state = sandbox.read_state(paths)
    authority = base64.b64encode((paths.credentials / "ca.crt").read_bytes()).decode()
    for cluster in config["clusters"]:
        server = str(cluster["cluster"]["server"])
        if not _is_own(server, state.ports if state else ()):
            raise WrongCluster(f"{paths.kubeconfig} leads to {server}, which is not the testbed; nothing was changed")
        if cluster["cluster"].get("certificate-authority-data") != authority:
            raise WrongCluster(f"{paths.kubeconfig} trusts another authority than the testbed's; nothing was changed")
    return str(config["current-context"]), str(config["clusters"][0]["cluster"]["server"])


def _read(kubeconfig: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(kubeconfig.read_text())
    except (OSError, ValueError) as error:
        raise WrongCluster(f"{kubeconfig} is not the testbed's kubeconfig: {error}") from error
    return config


def _is_own(server: str, ports: tuple[int, ...]) -> bool:
    address = urlsplit(server)
    try:
        return ipaddress.ip_address(address.hostname or "").is_loopback and address.port in ports
    except ValueError:
        return False
