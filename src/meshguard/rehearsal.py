"""The rehearsal mark: a cluster where faults may be made on purpose, until when, and who says so.

A ConfigMap `meshguard-system/rehearsal`. It names the cluster by its UID, so that a mark that came with a copy of the
objects (a backup, GitOps) does not count, and it ends by itself. What cannot be read is no mark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from meshguard.model.objects import Ref, dig
from meshguard.model.snapshot import ClusterIdentity
from meshguard.ports import Clock, Cluster

MARK = Ref("ConfigMap", "meshguard-system", "rehearsal")
LONGEST = timedelta(days=90)
"""A mark that outlives everybody's memory of it protects nobody."""

_DURATION = re.compile(r"(\d{1,5})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class NotARehearsal(Exception):
    """Nobody has said (or nobody says any longer) that faults may be made in this cluster; nothing was changed."""


@dataclass(frozen=True)
class Mark:
    """What a person has declared."""

    cluster_uid: str
    expires: datetime
    owner: str
    reason: str = ""

    def data(self) -> dict[str, str]:
        """The ConfigMap's data."""
        return {
            "clusterUID": self.cluster_uid,
            "expires": self.expires.isoformat(timespec="seconds"),
            "owner": self.owner,
            "reason": self.reason,
        }

    @classmethod
    def of(cls, data: Mapping[str, str]) -> Mark:
        """Read a mark back. Raises NotARehearsal for one that is not complete or cannot be read."""
        lacking = [key for key in ("clusterUID", "expires", "owner") if not data.get(key)]
        if lacking:
            raise NotARehearsal(f"the rehearsal mark {MARK} lacks {', '.join(lacking)}")
        try:
            expires = datetime.fromisoformat(data["expires"])
        except ValueError:
            raise NotARehearsal(f"the rehearsal mark {MARK} expires {data['expires']!r}, which is no time") from None
        if expires.tzinfo is None:
            raise NotARehearsal(f"the rehearsal mark {MARK} expires {data['expires']!r}, which names no time zone")
        return cls(data["clusterUID"], expires, data["owner"], data.get("reason", ""))

    def holds(self, cluster: ClusterIdentity, now: datetime) -> None:
        """Raise NotARehearsal unless the mark is this cluster's and has not expired."""
        if self.cluster_uid != cluster.uid:
            raise NotARehearsal(
                f"the rehearsal mark is another cluster's ({self.cluster_uid}, this one is {cluster.uid})"
            )
        if now >= self.expires:
            raise NotARehearsal(f"the rehearsal that {self.owner} declared ended {self.expires.isoformat()}")


async def read(cluster: Cluster) -> Mark | None:
    """Read the mark; None where there is none. Raises NotARehearsal for one that cannot be read, and ClusterError."""
    found = await cluster.get(MARK)
    return Mark.of(dig(found.doc, "data", default={})) if found else None


async def require(cluster: Cluster, clock: Clock) -> Mark:
    """Return the mark that allows faults here and now. Raises NotARehearsal, or ClusterError when nobody can tell."""
    identity = await cluster.identity()
    mark = await read(cluster)
    if mark is None:
        raise NotARehearsal(
            f"{identity.context} is not declared a rehearsal cluster, nothing was changed; "
            "whoever owns it can: meshguard rehearsal declare"
        )
    mark.holds(identity, datetime.fromisoformat(clock.wall()))
    return mark


async def new_mark(cluster: Cluster, clock: Clock, length: timedelta, owner: str, reason: str) -> Mark:
    """Make the mark that would allow faults from now on. Raises ClusterError, ValueError for a length out of range."""
    if not timedelta(0) < length <= LONGEST:
        raise ValueError(f"a rehearsal lasts at most {LONGEST.days} days, and longer than nothing")
    identity = await cluster.identity()
    return Mark(identity.uid, datetime.fromisoformat(clock.wall()) + length, owner, reason)


async def declare(cluster: Cluster, mark: Mark) -> None:
    """Write the mark; it replaces an earlier one. Raises ClusterError."""
    await cluster.put_config_map(MARK, mark.data(), {})


async def revoke(cluster: Cluster) -> bool:
    """Delete the mark, readable or not; say whether there was one. Raises ClusterError."""
    found = await cluster.get(MARK)
    if found is None:
        return False
    await cluster.delete(MARK, found.uid)
    return True


def duration(text: str) -> timedelta:
    """Read `30m`, `8h`, `7d`. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write 30m, 8h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
