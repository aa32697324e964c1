"""The storm as an activity of an experiment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from meshguard import app
from meshguard.chaos.settings import target_of
from meshguard.chaos.storm.run import Request, storm

logger = logging.getLogger("chaostoolkit")


async def hold(
    proxies: int, hold_s: float, address: str, revision: str, namespace: str, configuration: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Hold streams and report. Raises what `storm` raises."""
    request = Request(int(proxies), float(hold_s), address, revision, namespace)
    async with app.session(target_of(configuration)) as opened:
        return await storm(opened, request, logger.info)
