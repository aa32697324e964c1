"""A wrong build, so that the proof of faults can be seen to fail: its judge believes that everything has come.

Python imports this first where the folder is on its path.
"""

from __future__ import annotations

from typing import Any

from meshguard.model.verdict import Truth, Verdict
from meshguard.verify import istio_judge


async def _believes(self: Any, awaited: Any) -> Verdict:
    """Say that the condition holds."""
    return Verdict(Truth.YES, 1, 1, source="hearsay")


istio_judge.IstioJudge.judge = _believes  # type: ignore[method-assign]
