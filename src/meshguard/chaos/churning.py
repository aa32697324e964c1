"""Changes endpoints at a rate. What changes was made by a fault of its own, whose way back deletes it as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshguard import app
from meshguard.chaos.hand import inflict
from meshguard.chaos.settings import target_of
from meshguard.mesh.istio_sidecar.faults import FaultError
from meshguard.model.change import Change, read
from meshguard.model.objects import Ref

_ENDPOINTS = ("spec", "endpoints")
_MOST_PER_SECOND, _LONGEST_S = 50.0, 600.0


@dataclass(frozen=True)
class Rate:
    """How fast, and for how long."""

    per_second: float
    seconds: float

    def check(self) -> None:
        """Raise FaultError for an absurd rate."""
        if not 0 < self.per_second <= _MOST_PER_SECOND:
            raise FaultError(f"per_second must be above 0 and at most {_MOST_PER_SECOND:g}, not {self.per_second:g}")
        if not 0 < self.seconds <= _LONGEST_S:
            raise FaultError(f"seconds must be above 0 and at most {_LONGEST_S:g}, not {self.seconds:g}")


async def churn(
    namespace: str, rate: Rate, hosts: int, exported_to: str, configuration: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Make hosts and change their endpoints in turn; return how many changes were made.

    Raises what `inflict` raises, FaultError for an absurd rate, and ClusterError.
    """
    rate.check()
    arguments = {"namespace": namespace, "hosts": hosts, "exported_to": exported_to}
    made = await inflict("churn_hosts", arguments, configuration)
    refs = [Ref.parse(text) for text in made["targets"]]
    changes = 0
    async with app.session(target_of(configuration), run=made["run"]) as opened:
        clock = opened.clock
        began = clock.now()
        while clock.now() - began < rate.seconds:
            await _change(opened, refs[changes % len(refs)], changes)
            changes += 1
            await clock.sleep(max(0.0, began + changes / rate.per_second - clock.now()))
    return {**made, "changes": changes}


async def _change(opened: app.Session, ref: Ref, number: int) -> None:
    found = await opened.cluster.get(ref)
    if found is None:
        raise FaultError(f"{ref} was deleted while its endpoints were being changed")
    addresses = [{"address": f"192.0.2.{1 + (number + offset) % 200}"} for offset in range(1 + number % 2)]
    await opened.cluster.change(ref, found.uid, [Change(_ENDPOINTS, read(found.doc, _ENDPOINTS), addresses)])
