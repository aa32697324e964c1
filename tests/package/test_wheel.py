"""The wheel has everything: outside the checkout, in an environment of its own, with the network cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONWARNINGS", "KUBECONFIG")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="cutting the network needs root and unshare"
)
def test_the_wheel_works_with_the_network_cut(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__"),
    )
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", cwd=source)
    shutil.rmtree(source)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # the dependencies come from this environment; meshguard itself, which is installed there by a link, does not
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", "--no-deps", "--no-index")
    run(*pip, wheel, cwd=tmp_path)
    cut = ("unshare", "--net")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(home / "bin" / "python", "-c", "import meshguard; print(meshguard.__file__)", cwd=elsewhere).strip()
    assert str(home) in where
    assert "plan" in run(*cut, home / "bin" / "meshguard", "--help", cwd=elsewhere)
    assert "fail open" in run(*cut, home / "bin" / "meshguard", "explain", "MG203", cwd=elsewhere)
    playbooks = Path(where).parent / "playbooks"
    for playbook in ("exit.yml", "restore.yml", "rejoin.yml", "clusters.yml"):
        ansible = Path(sys.executable).parent / "ansible-playbook"
        listed = run(*cut, ansible, playbooks / playbook, "--list-tasks", cwd=elsewhere)
        assert "Verify" in listed
