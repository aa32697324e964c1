"""How a person writes waves and limits, and what that comes to."""

from __future__ import annotations

import pytest

from meshguard.model.staging import ProxyLimits, WaveSizes


@pytest.mark.parametrize(
    ("text", "total", "sizes"),
    [
        ("1,10%,rest", 30, (1, 3, 26)),
        ("1,10%,rest", 1, (1,)),
        ("1,10%,rest", 0, ()),
        ("10%", 25, (3, 3, 3, 3, 3, 3, 3, 3, 1)),
        ("2,5", 13, (2, 5, 5, 1)),
        ("rest", 7, (7,)),
        ("100%", 7, (7,)),
    ],
)
def test_waves_cover_every_workload_once(text: str, total: int, sizes: tuple[int, ...]) -> None:
    assert WaveSizes.parse(text).of(total) == sizes
    assert sum(sizes) == total


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "1.5", "rest,1", "1,,rest", "ten", "10 %", "١"])
def test_what_is_no_wave_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wave"):
        WaveSizes.parse(text)


def test_limits_are_read_in_any_order_and_written_in_one() -> None:
    assert ProxyLimits.parse("memory=1Gi, cpu=2") == ProxyLimits("2", "1Gi")
    assert str(ProxyLimits.parse("memory=1Gi,cpu=2")) == "cpu=2,memory=1Gi"
    assert not ProxyLimits.parse("")


@pytest.mark.parametrize("text", ["memory", "memory=", "memory=much", "memory=0", "disk=1Gi", "cpu=1,cpu=2", "cpu=-1"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"limit|quantity"):
        ProxyLimits.parse(text)
