"""Python imports this first where the folder is on its path: fake pods have no proxies, so nobody asks them.

Only the proof on fake pods puts it there. What the cluster itself can tell is judged as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_PATCHED = "meshguard.app"


class _Proxyless:
    """Judges what the cluster can tell; what only a proxy could tell counts as seen."""

    def __init__(self, judge: Any) -> None:
        self._judge = judge

    async def judge(self, awaited: Any) -> Any:
        """Say whether the condition holds."""
        from meshguard.model.plan import Check
        from meshguard.model.verdict import Truth, Verdict

        on_proxies = (Check.INBOUND, Check.OUTBOUND, Check.AUTHZ, Check.ENDPOINTS, Check.TRAFFIC)
        if awaited.check in on_proxies:
            return Verdict(Truth.YES, 1, 1, source="there are no proxies")
        return await self._judge.judge(awaited)


class _Patching(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create it as ever."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load it as ever, and put the judge into its place."""
        self._loader.exec_module(module)
        judge_of = module.judge_of
        module.judge_of = lambda *known: _Proxyless(judge_of(*known))  # type: ignore[attr-defined]


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the one module that is patched."""
        spec = PathFinder.find_spec(name, path, target) if name == _PATCHED else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Patching(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
