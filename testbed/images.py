"""Builds container images out of local programs and their shared libraries: no registry, no Docker.

An image is a ``docker save`` archive of one layer. It is rebuilt only when a file that goes into it has changed.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testbed import binaries, envoy, sample_shop
from testbed.paths import cache_root
from testbed.progress import Progress

_FORMAT = "1"
"""Raise it when this module makes other archives out of the same files."""

_FOLDERS = ("tmp", "proc", "var/lib/istio")
_TEXT_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1337:1337::/:/bin/false\n",
    "etc/group": "root:x:0:\nistio-proxy:x:1337:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_PATH = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_EPOCH = 0  # one time stamp for all, so that equal files make equal images


@dataclass(frozen=True)
class Image:
    """A container image and the files it consists of."""

    name: str
    entrypoint: str
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path in the image: file on this machine."""
    user: str = "0"

    def with_libraries(self) -> dict[str, Path]:
        """Return the files together with the shared libraries that they load."""
        libraries = {library: Path(library) for file in self.files.values() for library in _libraries(file)}
        return {**libraries, **self.files}

    def archive(self) -> Path:
        """Return where the archive of just these files is, once built."""
        digest = hashlib.sha256("\0".join([_FORMAT, self.name, self.entrypoint, self.user]).encode())
        for inside, file in sorted(self.with_libraries().items()):
            stat = file.stat()
            digest.update(f"{inside}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        file_name = self.name.replace("/", "-").replace(":", "-")
        return cache_root() / "images" / f"{file_name}-{digest.hexdigest()[:12]}.tar"


def catalogue() -> list[Image]:
    """Return the images that the full testbed runs."""
    programs = binaries.KUBERNETES.folder
    pilot = Image(
        "local/pilot:dev",
        "/usr/local/bin/pilot-discovery",
        {"/usr/local/bin/pilot-discovery": programs / "pilot-discovery"},
        user="1337",
    )
    images = [
        Image("local/pause:dev", "/pause", {"/pause": binaries.pause_program()}),
        Image("local/coredns:dev", "/coredns", {"/coredns": programs / "coredns"}),
        pilot,
        _proxy("local/proxyv2:dev", programs / "pilot-agent", envoy.VERSION),
        _proxy("local/proxyv2-old:dev", binaries.OLD_AGENT.folder / "pilot-agent", envoy.OLD_VERSION),
    ]
    if sample_shop.exists():
        shell = {f"/bin/{name}": Path(path) for name, path in _SHELL.items()}
        # dash has printf, so that a load can make its own body
        images.append(Image("local/hey:dev", "/bin/hey", {"/bin/hey": Path("/usr/bin/hey"), **shell}))
        images.append(Image("local/shop:dev", "/shop", {**sample_shop.programs(), **shell}))
    return images


_SHELL = {"sh": "/usr/bin/dash", "sleep": "/usr/bin/sleep"}


def built(image: Image) -> Path:
    """Return the archive of an image that is no part of the testbed, built if the cache lacks it."""
    archive = image.archive()
    if not archive.is_file():
        _build(image, archive)
        _drop_older(archive)
    return archive


def ensure(progress: Progress) -> list[Path]:
    """Build the archives that the cache lacks, and drop the ones that they replace.

    Returns:
        The archives of all images.
    """
    archives: list[Path] = []
    for image in catalogue():
        archive = image.archive()
        if not archive.is_file():
            with progress.step(f"building image {image.name}"):
                _build(image, archive)
            _drop_older(archive)
        archives.append(archive)
    return archives


def _drop_older(archive: Path) -> None:
    """Remove the archives of earlier versions of the same image."""
    base = archive.name.rpartition("-")[0]
    for other in archive.parent.glob(f"{base}-*.tar"):
        if other != archive and other.name.rpartition("-")[0] == base:
            other.unlink()


def _proxy(name: str, agent: Path, envoy_version: str) -> Image:
    tables = Path("/usr/sbin/xtables-nft-multi")
    commands = [f"{family}{part}" for family in ("iptables", "ip6tables") for part in ("", "-save", "-restore")]
    extensions = sorted(Path("/usr/lib/x86_64-linux-gnu/xtables").glob("*.so"))
    return Image(
        name,
        "/usr/local/bin/pilot-agent",
        {
            "/usr/local/bin/pilot-agent": agent,
            "/usr/local/bin/envoy": envoy.program(envoy_version),
            "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": binaries.envoy_bootstrap_template(),
            **{f"/usr/sbin/{command}": tables for command in commands},
            **{str(extension): extension for extension in extensions},
        },
    )


@functools.cache
def _libraries(file: Path) -> frozenset[str]:
    """Return the shared libraries that a program loads; none for a static one, a text, or a plug-in of a program."""
    if file.suffix == ".so":
        return frozenset()
    with file.open("rb") as content:
        if content.read(4) != b"\x7fELF":
            return frozenset()
    listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True).stdout
    return frozenset(re.findall(r"(/\S+\.so\S*)", listed))


def _build(image: Image, archive: Path) -> None:
    layer = _layer(image.with_libraries())
    layer_digest = hashlib.sha256(layer).hexdigest()
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": image.user, "Entrypoint": [image.entrypoint], "Env": [_PATH]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
    }
    configuration_bytes = json.dumps(configuration).encode()
    configuration_name = hashlib.sha256(configuration_bytes).hexdigest() + ".json"
    layer_name = f"{layer_digest}/layer.tar"
    manifest = [{"Config": configuration_name, "RepoTags": [image.name], "Layers": [layer_name]}]
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(f".{os.getpid()}")
    with tarfile.open(partial, "w") as outer:
        _add(outer, configuration_name, configuration_bytes, 0o644)
        _add(outer, layer_name, layer, 0o644)
        _add(outer, "manifest.json", json.dumps(manifest).encode(), 0o644)
    partial.rename(archive)


def _layer(files: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        folders = {str(parent) for name in files for parent in Path(name.lstrip("/")).parents} - {"."}
        for folder in sorted(folders | set(_FOLDERS) | {"etc"}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755, _EPOCH
            layer.addfile(entry)
        for name, text in _TEXT_FILES.items():
            _add(layer, name, text.encode(), 0o644)
        for name, file in sorted(files.items()):
            _add(layer, name.lstrip("/"), file.resolve().read_bytes(), 0o755)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), mode, _EPOCH
    archive.addfile(entry, io.BytesIO(content))
