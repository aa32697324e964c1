"""Who asks and where: the kubeconfig or the pod's service account, read by the official client's own loader."""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.kube_config import KubeConfigMerger

from meshguard.cluster.connections import Connections
from meshguard.cluster.errors import ConfigError

IN_CLUSTER = "in-cluster"
"""The name of the context when there is no kubeconfig and we run in a pod."""
PLUGIN_DEADLINE_S = 30.0
"""How long a credential plugin may take; a person may have to touch a key or log in."""


@dataclass(frozen=True, slots=True)
class Access:
    """A way into one cluster."""

    context: str
    kubeconfig: str
    """One path, or several as in `$KUBECONFIG`; "" for the service account of the pod we run in."""

    async def client(self) -> tuple[ApiClient, Connections]:
        """Read the configuration afresh, run its credential plugin, and return a client and its connections.

        Raises ConfigError with one sentence when that is not possible.
        """
        configuration = Configuration()
        with _complaints() as complaints:
            try:
                async with asyncio.timeout(PLUGIN_DEADLINE_S):
                    await self._load(configuration)
                client = ApiClient(configuration)
            except TimeoutError:
                raise ConfigError(
                    f"the credential plugin of context {self.context!r} gave no answer in {PLUGIN_DEADLINE_S:.0f} s"
                ) from None
            except (kube_config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
                raise ConfigError(f"context {self.context!r} cannot be used: {error}") from error
        if complaints and not configuration.api_key and not configuration.cert_file:
            raise ConfigError(f"context {self.context!r} has no credentials: {'; '.join(complaints)}")
        connections = Connections(client.rest_client.ssl_context, configuration.connection_pool_maxsize)
        configuration.client_session_kwargs = {"connector": connections.connector}
        return client, connections

    async def _load(self, configuration: Configuration) -> None:
        if not self.kubeconfig:
            kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            return
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
            self.kubeconfig, self.context, configuration, persist_config=False
        )


def find_access(context: str | None, kubeconfig: str | None) -> Access:
    """Decide which cluster is meant: the named context of the named file, else kubectl's own defaults.

    Raises ConfigError when there is no kubeconfig, it cannot be read, or it has no such context.
    """
    paths = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        if not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ and context in (None, IN_CLUSTER):
            return Access(IN_CLUSTER, "")
        raise ConfigError(f"no kubeconfig at {paths}; set KUBECONFIG or give --kubeconfig")
    document = _read_kubeconfig(paths)
    names = [str(entry["name"]) for entry in document.get("contexts") or ()]
    chosen = context or document.get("current-context") or ""
    if not chosen:
        raise ConfigError(f"{paths} has no current context; choose one of {', '.join(names) or '(none)'}")
    if chosen not in names:
        near = difflib.get_close_matches(chosen, names, n=3, cutoff=0.4) or sorted(names)[:5]
        raise ConfigError(f"no context {chosen!r} in {paths}; did you mean {' or '.join(near) or '(it has none)'}?")
    return Access(chosen, paths)


def extension_of(access: Access, name: str) -> Any:
    """Return what the context of a kubeconfig says under a name of its extensions; None where it says nothing.

    Source: `NamedExtension` of `k8s.io/client-go/tools/clientcmd/api/v1`. Raises ConfigError.
    """
    if not access.kubeconfig:
        return None
    for entry in _read_kubeconfig(access.kubeconfig).get("contexts") or ():
        found: dict[str, Any] = getattr(entry, "value", entry)  # the merger wraps what it has merged
        if found.get("name") == access.context:
            extensions = (found.get("context") or {}).get("extensions") or ()
            return next((e.get("extension") for e in extensions if e.get("name") == name), None)
    return None


def _read_kubeconfig(paths: str) -> dict[str, Any]:
    try:
        merged = KubeConfigMerger(paths).config.value  # type: ignore[no-untyped-call]
        if not isinstance(merged, dict):
            raise ValueError("it is not a mapping")
        return merged
    except (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the kubeconfig {paths}: {error}") from error


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what the loader logs: it logs why a credential plugin failed and goes on without credentials."""
    collected: list[str] = []

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(record.getMessage())

    logger, handler = logging.getLogger("kubernetes.aio.config.kube_config"), _Collector(logging.ERROR)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield collected
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
