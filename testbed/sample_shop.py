"""The sample shop: its Go programs, and the manifests that run it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import yaml

from testbed import binaries, commands, credentials
from testbed.paths import PACKAGE, RunPaths, cache_root
from testbed.progress import Progress

SOURCE = PACKAGE / "shop"
MANIFESTS = SOURCE / "manifests"
_PROGRAMS = ("shop", "openload")


def exists() -> bool:
    """Whether the checkout has the shop's source."""
    return (SOURCE / "go.mod").is_file()


def folder() -> Path:
    """Return where the shop's programs are, once built; keyed by the text of their source."""
    digest = hashlib.sha256()
    for file in sorted(SOURCE.rglob("*")):
        if file.suffix == ".go" or file.name in ("go.mod", "go.sum"):
            digest.update(f"{file.relative_to(SOURCE)}\0".encode())
            digest.update(file.read_bytes())
    return cache_root() / "bin" / f"shop-{digest.hexdigest()[:12]}"


def programs() -> dict[str, Path]:
    """Return path in the image: program on this machine."""
    return {f"/{name}": folder() / name for name in _PROGRAMS}


def ensure(progress: Progress) -> None:
    """Build the shop's programs if the cache lacks those of this very source."""
    if not exists() or folder().is_dir():
        return
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".shop-") as partial:
        output = Path(partial) / "out"
        output.mkdir()
        binaries.run_go_build(SOURCE, ["-ldflags=-s -w", "-o", f"{output}/", "./..."], "the sample shop", progress)
        output.rename(target)
    for other in target.parent.glob("shop-*"):
        if other != target:
            shutil.rmtree(other)


def install(paths: RunPaths) -> None:
    """Create the shop in the cluster: namespaces first, then all the rest in one go."""
    files = sorted(MANIFESTS.glob("*.yaml")) if MANIFESTS.is_dir() else []
    manifests = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    manifests.sort(key=lambda manifest: manifest["kind"] != "Namespace")
    if not manifests:
        return
    commands.apply_objects(paths, manifests)
    commands.apply(paths, (PACKAGE / "manifests" / "shop-admins.yaml").read_text())


def answers(paths: RunPaths) -> bool:
    """Whether a request from outside the mesh, through the ingress gateway, comes back with the shop's answer."""
    client = credentials.api_client(paths)
    gateway = client.get("/api/v1/namespaces/istio-ingress/services/istio-ingressgateway")
    url = f"http://{gateway['spec']['clusterIP']}/"
    ask = ("curl", "--silent", "--fail", "--max-time", "5", "--data", "testbed-probe", url)
    asked = commands.run_inside(paths, ask, check=False)
    return asked.returncode == 0
