"""Who decides whether an awaited condition holds: the mesh's rules, fed by the ports; put together in `app`."""

from __future__ import annotations

from typing import Protocol

from meshguard.model.plan import Await
from meshguard.model.verdict import Verdict


class Judge(Protocol):
    """Looks at the cluster and at the proxies, once."""

    async def judge(self, awaited: Await) -> Verdict:
        """Say whether the condition holds now, and what is missing.

        Called again and again, for all conditions of a wave at the same time; what several of them need should be
        read once. A ClusterError counts as "could not be seen" and is tried again until the deadline.
        """
        ...
