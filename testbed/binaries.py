"""Builds the Go programs of the testbed into the cache, each Go module keyed by what decides the result."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import toolchain
from testbed.errors import TestbedError
from testbed.paths import PACKAGE, cache_root
from testbed.progress import Progress

KUBERNETES_VERSION = "v1.36.3"
ISTIO_VERSION = "1.31.0"
OLD_ISTIO_VERSION = "1.29.0"
"""What the pilot-agent of the old proxy image says of itself."""

_SECONDS_BETWEEN_PROGRESS_LINES = 15


@dataclass(frozen=True)
class Build:
    """One call of ``go build`` in one of the Go modules below ``testbed/go``."""

    name: str
    module: str
    targets: tuple[str, ...]
    output: str | None = None
    """Name of the program, where it differs from the package's; then there is one target only."""
    istio_version: str = ISTIO_VERSION

    @property
    def module_folder(self) -> Path:
        """The folder that holds go.mod and go.sum."""
        return PACKAGE / "go" / self.module

    @property
    def linker_flags(self) -> str:
        """Flags that make it small and tell it its version; kubectl and Istio cannot parse an absent one."""
        major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
        stamps = {
            "k8s.io/component-base/version.gitVersion": KUBERNETES_VERSION,
            "k8s.io/component-base/version.gitMajor": major,
            "k8s.io/component-base/version.gitMinor": minor,
            "istio.io/istio/pkg/version.buildVersion": self.istio_version,
        }
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])

    @property
    def folder(self) -> Path:
        """Where its programs are, once built."""
        digest = hashlib.sha256()
        for part in ((self.module_folder / "go.mod").read_bytes(), (self.module_folder / "go.sum").read_bytes()):
            digest.update(part)
        digest.update("\0".join([self.linker_flags, self.output or "", *self.targets]).encode())
        return cache_root() / "bin" / f"{self.name}-{digest.hexdigest()[:12]}"


_COMMANDS = "k8s.io/kubernetes/cmd"
ETCD = Build("etcd", "etcd", ("go.etcd.io/etcd/server/v3",), output="etcd")
KUBERNETES = Build(
    "kubernetes",
    "kubernetes",
    (
        *(
            f"{_COMMANDS}/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")
        ),
        "github.com/coredns/coredns",
        "istio.io/istio/istioctl/cmd/istioctl",
        "istio.io/istio/pilot/cmd/pilot-agent",
        "istio.io/istio/pilot/cmd/pilot-discovery",
    ),
)
OLD_AGENT = Build(
    "old-agent",
    "kubernetes",
    ("istio.io/istio/pilot/cmd/pilot-agent",),
    output="pilot-agent",
    istio_version=OLD_ISTIO_VERSION,
)
KUBECTL = Build("kubectl", "kubectl", (f"{_COMMANDS}/kubectl",))
KWOK = Build("kwok", "kwok", ("sigs.k8s.io/kwok/cmd/kwok",))
ALL = (ETCD, KUBERNETES, OLD_AGENT, KUBECTL, KWOK)


def ensure(progress: Progress, builds: Sequence[Build] = ALL) -> None:
    """Build what the cache lacks. The first time takes 10 to 20 minutes on two cores, later times nothing.

    Raises:
        TestbedError: there is no Go, or a build failed.
    """
    for build in builds:
        if not build.folder.is_dir():
            _build(build, progress)
    if not pause_program().is_file():
        _compile_pause()
    if not istio_charts().is_dir():
        _copy_istio_files()


def pause_program() -> Path:
    """Return the program of the pause image, that holds a pod's namespaces."""
    return KUBERNETES.folder.with_name(KUBERNETES.folder.name + "-pause") / "pause"


def istio_charts() -> Path:
    """Return Istio's own Helm charts, of the very version that was built."""
    return KUBERNETES.folder.with_name(KUBERNETES.folder.name + "-istio") / "manifests"


def envoy_bootstrap_template() -> Path:
    """Return the template that pilot-agent makes Envoy's bootstrap configuration from."""
    return istio_charts().with_name("envoy_bootstrap.json")


def kwok_stages() -> Path:
    """Return kwok's description of how fake nodes and pods live."""
    return KWOK.folder / "stages.yaml"


def run_go_build(folder: Path, arguments: Sequence[str], title: str, progress: Progress) -> None:
    """Run ``go build -v`` as a polite neighbour, and count the packages it compiles.

    Raises:
        TestbedError: the build failed; the message has the end of its output.
    """
    began = last_line = time.monotonic()
    progress.say(f"building {title}; nothing in the cache fits ...")
    temporary = cache_root() / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        ["nice", "-n", "10", str(toolchain.go()), "build", "-v", "-trimpath", *arguments],
        cwd=folder,
        env={**os.environ, "CGO_ENABLED": "0", "GOTMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    output: list[str] = []
    for line in process.stderr:
        output.append(line)
        if time.monotonic() - last_line >= _SECONDS_BETWEEN_PROGRESS_LINES:
            last_line = time.monotonic()
            progress.say(f"building {title}: {len(output)} packages so far, now {line.strip()}")
    if process.wait():
        raise TestbedError(f"building {title} failed:\n{''.join(output[-20:])}")
    progress.say(f"built {title} in {time.monotonic() - began:.0f} s")


def _build(build: Build, progress: Progress) -> None:
    build.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build.folder.parent, prefix=f".{build.name}-") as partial:
        output = Path(partial) / "out"
        output.mkdir()
        target = output / build.output if build.output else f"{output}/"
        arguments = ["-ldflags", build.linker_flags, "-o", str(target), *build.targets]
        run_go_build(build.module_folder, arguments, f"{build.name} ({len(build.targets)} programs)", progress)
        if build is KWOK:
            stages = _module_folder(build, "sigs.k8s.io/kwok") / "kustomize" / "stage"
            parts = [
                file.read_text()
                for kind in ("node/fast", "pod/fast", "node/heartbeat-with-lease")
                for file in sorted((stages / kind).glob("*.yaml"))
                if file.name != "kustomization.yaml"
            ]
            (output / "stages.yaml").write_text("\n---\n".join(parts))
        output.rename(build.folder)  # appears whole or not at all


def _module_folder(build: Build, module: str) -> Path:
    listed = subprocess.run(
        [toolchain.go(), "list", "-m", "-f", "{{.Dir}}", module],
        cwd=build.module_folder,
        capture_output=True,
        text=True,
    )
    if listed.returncode or not listed.stdout.strip():
        raise TestbedError(f"the source of {module} is not in the Go module cache: {listed.stderr.strip()}")
    return Path(listed.stdout.strip())


def _compile_pause() -> None:
    source = _module_folder(KUBERNETES, "k8s.io/kubernetes") / "build" / "pause" / "linux" / "pause.c"
    pause_program().parent.mkdir(exist_ok=True)
    partial = pause_program().with_suffix(".partial")
    subprocess.run(["gcc", "-Os", "-static", "-o", str(partial), str(source)], check=True)
    partial.rename(pause_program())


def _copy_istio_files() -> None:
    """Keep what is needed of Istio's source, so that a warm start works without the module cache."""
    source = _module_folder(KUBERNETES, "istio.io/istio")
    folder = istio_charts().parent
    folder.mkdir(exist_ok=True)
    shutil.copyfile(source / "tools" / "packaging" / "common" / "envoy_bootstrap.json", envoy_bootstrap_template())
    partial = folder / ".manifests"
    if partial.exists():
        shutil.rmtree(partial)
    shutil.copytree(source / "manifests", partial)
    subprocess.run(["chmod", "-R", "u+w", str(partial)], check=True)
    partial.rename(istio_charts())
