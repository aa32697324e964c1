"""Which version of what the testbed runs."""

from __future__ import annotations

import functools
import platform
import re
import subprocess

from testbed import binaries, envoy, sample_shop


def of_component(name: str) -> str:
    """Return the version of a process of the testbed."""
    if name in ("etcd", "kwok"):
        module = {"etcd": "go.etcd.io/etcd/server/v3", "kwok": "sigs.k8s.io/kwok"}[name]
        return _required(binaries.ETCD if name == "etcd" else binaries.KWOK, module)
    if name.startswith("kube"):
        return binaries.KUBERNETES_VERSION
    if name in ("containerd", "prometheus"):
        return _reported(name)
    return f"Python {platform.python_version()}"


def of_image(image: str) -> str:
    """Return the version of what is in one of the testbed's images."""
    match image:
        case "local/coredns:dev":
            return _required(binaries.KUBERNETES, "github.com/coredns/coredns")
        case "local/pilot:dev":
            return binaries.ISTIO_VERSION
        case "local/proxyv2:dev" | "auto":
            return f"{binaries.ISTIO_VERSION}, Envoy {envoy.VERSION}"
        case "local/proxyv2-old:dev":
            return f"{binaries.OLD_ISTIO_VERSION}, Envoy {envoy.OLD_VERSION}"
        case "local/shop:dev":
            return sample_shop.folder().name.removeprefix("shop-")
        case _:
            return image


def _required(build: binaries.Build, module: str) -> str:
    found = re.search(rf"\b{re.escape(module)} (v\S+)", (build.module_folder / "go.mod").read_text())
    return found.group(1) if found else "unknown"


@functools.cache
def _reported(program: str) -> str:
    """Ask a program of a Debian package for its version."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    found = re.search(r"\d+\.\d+\.\d+\S*", done.stdout + done.stderr)
    return found.group() if found else "unknown"
