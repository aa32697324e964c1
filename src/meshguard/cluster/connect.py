"""The door to a cluster. Importing it is cheap; the Kubernetes client is loaded when a cluster is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meshguard import __version__
from meshguard.cluster.errors import ConfigError
from meshguard.ports import Clock

if TYPE_CHECKING:
    from meshguard.cluster.kubernetes_cluster import KubernetesCluster
    from meshguard.cluster.requests import Patience


async def open_cluster(
    context: str | None,
    clock: Clock,
    *,
    kubeconfig: str | None = None,
    as_user: str = "",
    as_groups: Sequence[str] = (),
    run: str = "",
    patience: Patience | None = None,
) -> KubernetesCluster:
    """Prepare access to a cluster; the first call on it is the first request.

    `context` None means the kubeconfig's current one, `kubeconfig` None means what kubectl would take. `run` is
    the run's name, found again in the audit log (in the User-Agent and, when impersonating, in the extra fields).
    Raises ConfigError: no kubeconfig, no such context, a credential plugin that fails, groups without a user.
    """
    from meshguard.cluster.credentials import find_access
    from meshguard.cluster.kubernetes_cluster import KubernetesCluster
    from meshguard.cluster.requests import Requests, patience_of

    access = find_access(context, kubeconfig)
    headers = identity_headers(as_user, as_groups, run)
    client, connections = await access.client()
    return KubernetesCluster(Requests(access, client, connections, clock, headers, patience or patience_of(run)))


def identity_headers(as_user: str, as_groups: Sequence[str], run: str) -> list[tuple[str, str]]:
    """The headers by which the audit log can tell who did it, in whose name and for which run."""
    headers = [("User-Agent", f"meshguard/{__version__}" + (f" run/{run}" if run else ""))]
    if as_groups and not as_user:
        raise ConfigError("--as-group needs --as: Kubernetes impersonates groups only together with a user")
    if as_user:
        headers.append(("Impersonate-User", as_user))
        headers += [("Impersonate-Group", group) for group in as_groups]
        if run:
            headers.append(("Impersonate-Extra-meshguard-run", run))
    return headers
