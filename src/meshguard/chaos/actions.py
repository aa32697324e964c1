"""Actions of the Chaos Toolkit extension; each is the fault of the same name, or a passage through the glass.

Annotations are what `chaos discover` shows, so they are not postponed here.
"""

from typing import Any, Dict, List, Optional

from chaoslib.types import Configuration

from meshguard.chaos import churning, glass, storming
from meshguard.chaos.errors import activity
from meshguard.chaos.hand import inflict
from meshguard.chaos.undoing import undo_all

__all__ = [
    "churn",
    "evict",
    "injector_without_endpoints",
    "istiod_down",
    "istiod_starved",
    "leave_mesh",
    "limit_sidecars",
    "move_to_revision",
    "mtls_mode",
    "realign",
    "retry_posts",
    "return_to_mesh",
    "run_job",
    "run_workload",
    "storm",
    "strip_label",
    "undo",
    "use_proxy_image",
]

Answer = Dict[str, Any]


def limit_sidecars(
    namespace: str,
    workloads: List[str],
    memory_limit: str,
    memory_request: str = "32Mi",
    configuration: Configuration = None,
) -> Answer:
    """Give the sidecars of workloads a memory limit, through their pod templates.

    Args:
        namespace: Where the workloads are.
        workloads: Their names; `["*"]` for all that carry sidecars.
        memory_limit: A quantity, `160Mi`.
        memory_request: A quantity; the injector's own default goes with any limit.

    Raises:
        ActivityFailed: it was refused, or not everything was seen.
    """
    given = {
        "namespace": namespace,
        "workloads": workloads,
        "memory_limit": memory_limit,
        "memory_request": memory_request,
    }
    return activity(inflict("limit_sidecars", given, configuration))


def use_proxy_image(namespace: str, workloads: List[str], image: str, configuration: Configuration = None) -> Answer:
    """Give workloads a proxy of another version (`sidecar.istio.io/proxyImage`)."""
    given = {"namespace": namespace, "workloads": workloads, "image": image}
    return activity(inflict("use_proxy_image", given, configuration))


def move_to_revision(
    namespace: str, workloads: List[str], revision: str, configuration: Configuration = None
) -> Answer:
    """Put a namespace on another revision of istiod and delete the pods of workloads; they come back on it."""
    given = {"namespace": namespace, "workloads": workloads, "revision": revision}
    return activity(inflict("move_to_revision", given, configuration))


def strip_label(namespace: str, workloads: List[str], configuration: Configuration = None) -> Answer:
    """Leave the mesh by the textbook: the namespace's label goes, the workloads restart, nothing is relaxed."""
    return activity(inflict("strip_label", {"namespace": namespace, "workloads": workloads}, configuration))


def evict(namespace: str, workloads: List[str], configuration: Configuration = None) -> Answer:
    """Delete all pods of workloads at once, as a node without memory does."""
    return activity(inflict("evict", {"namespace": namespace, "workloads": workloads}, configuration))


def istiod_down(revision: str = "default", configuration: Configuration = None) -> Answer:
    """Scale a revision's istiod to nothing."""
    return activity(inflict("istiod_down", {"revision": revision}, configuration))


def istiod_starved(cpu: str, revision: str = "default", configuration: Configuration = None) -> Answer:
    """Give a revision's istiod next to no processor time (`50m`): pushes become slow."""
    return activity(inflict("istiod_starved", {"cpu": cpu, "revision": revision}, configuration))


def injector_without_endpoints(revision: str = "default", configuration: Configuration = None) -> Answer:
    """Let the service before a revision's injector select nobody; its webhook refuses every pod it is for."""
    return activity(inflict("injector_without_endpoints", {"revision": revision}, configuration))


def run_job(
    namespace: str,
    image: str,
    command: List[str],
    seconds: float = 120.0,
    name: str = "job",
    pods: int = 1,
    sidecar: str = "native",
    configuration: Configuration = None,
) -> Answer:
    """Run a Job: load through sidecars, a caller without one, or work that a classic sidecar keeps from ending.

    Args:
        namespace: Where it runs.
        image: The image of its one container.
        command: What it runs.
        seconds: When it is ended, give or take half a minute, even if nobody undoes it.
        name: Names the object `meshguard-NAME`.
        pods: How many at the same time.
        sidecar: `native`, `classic` or `none`.

    Raises:
        ActivityFailed: it was refused.
    """
    given = {
        "namespace": namespace,
        "image": image,
        "command": command,
        "seconds": seconds,
        "name": name,
        "pods": pods,
        "sidecar": sidecar,
    }
    return activity(inflict("run_job", given, configuration))


def run_workload(
    namespace: str,
    image: str,
    command: List[str],
    name: str = "load",
    pods: int = 1,
    sidecar: str = "native",
    sidecar_memory_limit: str = "",
    configuration: Configuration = None,
) -> Answer:
    """Run a Deployment that calls others through its own sidecar, until it is undone.

    Args:
        namespace: Where it runs.
        image: The image of its one container.
        command: What it runs.
        name: Names the object `meshguard-NAME`.
        pods: How many.
        sidecar: `native`, `classic` or `none`.
        sidecar_memory_limit: Of its own sidecar, `120Mi`; "" for the mesh's default.

    Raises:
        ActivityFailed: it was refused.
    """
    given = {
        "namespace": namespace,
        "image": image,
        "command": command,
        "name": name,
        "pods": pods,
        "sidecar": sidecar,
        "sidecar_memory_limit": sidecar_memory_limit,
    }
    return activity(inflict("run_workload", given, configuration))


def mtls_mode(namespace: str, mode: str, configuration: Configuration = None) -> Answer:
    """Set what the servers of a namespace accept: `STRICT`, `PERMISSIVE` or `DISABLE`."""
    return activity(inflict("mtls_mode", {"namespace": namespace, "mode": mode}, configuration))


def retry_posts(namespace: str, host: str, attempts: int = 3, configuration: Configuration = None) -> Answer:
    """Let the mesh retry every failed request to a host, POSTs among them."""
    return activity(inflict("retry_posts", {"namespace": namespace, "host": host, "attempts": attempts}, configuration))


def churn(
    namespace: str,
    per_second: float,
    seconds: float,
    hosts: int = 1,
    exported_to: str = "*",
    configuration: Configuration = None,
) -> Answer:
    """Change the endpoints of hosts that are made for it at a rate, as evictions change them.

    Args:
        namespace: Where the hosts (ServiceEntries) are made.
        per_second: Changes a second, at most 50.
        seconds: For how long, at most 600.
        hosts: How many hosts take turns.
        exported_to: `*` for every proxy of the mesh, `.` for those in the same namespace only.

    Raises:
        ActivityFailed: it was refused.
    """
    return activity(churning.churn(namespace, churning.Rate(per_second, seconds), hosts, exported_to, configuration))


def storm(
    proxies: int,
    hold: float,
    address: str = "",
    revision: str = "default",
    namespace: str = "default",
    configuration: Configuration = None,
) -> Answer:
    """Hold real xDS streams to istiod from this process, and report what they cost; best in the background.

    Args:
        proxies: How many streams, at most 5,000.
        hold: Seconds for which they stay once all are configured.
        address: HOST:PORT of istiod's plaintext xDS port; its service's cluster address by default.
        revision: Whose istiod.
        namespace: Whose configuration the streams get.

    Raises:
        ActivityFailed: it was refused, or the optional packages are not installed.
    """
    return activity(storming.hold(proxies, hold, address, revision, namespace, configuration))


def leave_mesh(
    namespaces: List[str], accept: Optional[List[str]] = None, configuration: Configuration = None
) -> Answer:
    """Break the glass: take namespaces out of the mesh by the playbook `exit.yml`.

    Args:
        namespaces: Which.
        accept: Consents as the options of `meshguard exit` write them: `accept-interruption NS/WORKLOAD`.

    Raises:
        ActivityFailed: it was refused, or not everything was seen.
    """
    return glass.leave(namespaces, accept or (), configuration)


def return_to_mesh(configuration: Configuration = None) -> Answer:
    """Restore by the playbook `restore.yml` what this experiment took out of the mesh last."""
    return glass.come_back(configuration)


def realign(
    namespaces: List[str],
    to_revision: str = "",
    accept: Optional[List[str]] = None,
    configuration: Configuration = None,
) -> Answer:
    """Restart the proxies that do not fit their control plane, by the playbook `realign.yml`."""
    return glass.realign(namespaces, to_revision, accept or (), configuration)


def undo(fault: str = "", configuration: Configuration = None) -> Answer:
    """Undo everything that experiments have left open in the cluster, and see that nothing is left: a rollback.

    Args:
        fault: Only what the action of this name has made.

    Raises:
        ActivityFailed: not everything is as it was.
    """
    return activity(undo_all(fault, configuration))
