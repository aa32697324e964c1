"""What operators may decide. The words stand for real ones: settings made before, and ways out at a minute."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from meshguard.model.suggestions import hint
from meshguard.sim.fleet.scenario import Scenario, ScenarioError

if TYPE_CHECKING:
    from meshguard.sim.fleet.world import World

WAYS = ("ordered", "textbook", "by-hand")
_LOOK_S = 2.0
_WAVE = 25
"""Workloads that restart together; the default of the real command."""


@dataclass(frozen=True)
class Decision:
    """Nothing at all; the others are kinds of it."""

    title: str = "nothing"

    def prepare(self, scenario: Scenario) -> Scenario:
        """The scenario as it would have been, had it been decided before."""
        return scenario

    def put(self, world: World) -> None:
        """Put into the agenda what is to be done."""


@dataclass(frozen=True)
class Limits(Decision):
    """`sidecar.istio.io/proxyMemoryLimit` was set before."""

    mib: float = 512.0

    def prepare(self, scenario: Scenario) -> Scenario:
        """A limit; with it the scheduler would also have known, which is left out."""
        return scenario.with_(sidecars={"limitMiB": self.mib})


@dataclass(frozen=True)
class Throttle(Decision):
    """`PILOT_PUSH_THROTTLE` was set before."""

    width: int = 10

    def prepare(self, scenario: Scenario) -> Scenario:
        """A narrower throttle."""
        return scenario.with_(controlPlane={"pushThrottle": self.width})


@dataclass(frozen=True)
class Leave(Decision):
    """The whole mesh is left at a minute, in one of three ways."""

    minute: float = 18.0
    way: str = "ordered"
    hands_s: float = 260.0
    """By hand: seconds for each namespace."""

    def put(self, world: World) -> None:
        """Begin at the minute."""
        begin = {"ordered": self._relax, "textbook": self._all, "by-hand": self._by_hand}[self.way]
        world.fleet.agenda.at(self.minute * 60, lambda: begin(world))

    def _relax(self, world: World) -> None:
        """Let every server take plaintext first, and go on when every proxy has it."""
        world.fleet.happen("decided", "operator", "leave the mesh in order")
        wanted = dict.fromkeys(world.fleet.policies.written, False)
        world.fleet.write_policies(wanted)
        self._await(world)

    def _await(self, world: World) -> None:
        fleet = world.fleet
        late = any(
            pod.meshed and pod.ready and (pod.seen < 0 or fleet.policies.strict(pod.seen, pod.service.namespace))
            for pod in fleet.pods.values()
        )
        if late or fleet.policies.strict(fleet.istiod.generation, fleet.services[0].namespace):
            fleet.agenda.later(_LOOK_S, lambda: self._await(world))
            return
        fleet.happen("converged", "every proxy", "takes plaintext")
        for namespace in world.inject:
            world.inject[namespace] = False
        self._wave(world, 0)

    def _wave(self, world: World, begin: int) -> None:
        """Restart a wave, and the next one when nobody in it has a sidecar any more."""
        services = world.fleet.services[begin : begin + _WAVE]
        if services:
            world.restart(services)
            self._await_wave(world, begin)

    def _await_wave(self, world: World, begin: int) -> None:
        if world.left(world.fleet.services[begin : begin + _WAVE]):
            self._wave(world, begin + _WAVE)
            return
        world.fleet.agenda.later(_LOOK_S, lambda: self._await_wave(world, begin))

    def _all(self, world: World) -> None:
        world.fleet.happen("decided", "operator", "strip the label and restart")
        self._out(world, list(world.inject))

    def _by_hand(self, world: World) -> None:
        world.fleet.happen("decided", "operator", "switch injection off, namespace by namespace")
        for number, namespace in enumerate(sorted(world.inject)):
            world.fleet.agenda.later(number * self.hands_s, partial(self._out, world, [namespace]))

    @staticmethod
    def _out(world: World, namespaces: list[str]) -> None:
        for namespace in namespaces:
            world.inject[namespace] = False
        world.restart([s for s in world.fleet.services if s.namespace in namespaces])


def parse(words: str) -> tuple[Decision, ...]:
    """Read `limits=256+ordered@18`, `nothing`, `textbook@20`, `throttle=10`. Raises ScenarioError."""
    return tuple(_one(word.strip()) for word in words.split("+") if word.strip() != "nothing")


def _one(word: str) -> Decision:
    try:
        if "@" in word:
            way, _, minute = word.partition("@")
            if way not in WAYS:
                raise ScenarioError(f"there is no way out {way!r}{hint(way, WAYS)}; there are {', '.join(WAYS)}")
            at = float(minute)
            if not 0 <= at <= 1440:
                raise ScenarioError(f"{word!r}: the minute must lie between 0 and 1440")
            return Leave(word, at, way)
        name, _, value = word.partition("=")
        if name == "limits" and float(value) > 0:
            return Limits(word, float(value))
        if name == "throttle" and int(value) > 0:
            return Throttle(word, int(value))
    except ValueError:
        pass
    known = ("nothing", "limits=MIB", "throttle=N", *(f"{way}@MINUTE" for way in WAYS))
    raise ScenarioError(
        f"{word!r} is no decision{hint(word.partition('=')[0], ('limits', 'throttle'))}; there are {', '.join(known)}"
    )
