"""The figures drawn from the load's records are right, and incomplete records are refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from testbed.shop.records import Records, RecordsError, Window, parse, percentile

SECOND = 1_000_000_000


def leg(edge: str, **fields: Any) -> dict[str, Any]:
    return {"edge": edge, "protocol": "http", "at": 0, "us": 900, "outcome": "ok", "nonce": True} | fields


def request(seq: int, at: float, edge: str = "storefront->cart", **fields: Any) -> str:
    legs = [leg("load->storefront", conn="new"), leg("storefront->cart", conn="reused", attempts=1)]
    record = {
        "kind": "request",
        "seq": seq,
        "id": f"id-{seq}",
        "at": int(at * SECOND),
        "edge": edge,
        "protocol": "http",
        "fresh": False,
        "outcome": "ok",
        "lag_us": 10,
        "us": 1000,
        "legs": legs,
    }
    return json.dumps(record | fields)


def failed(seq: int, at: float, **fields: Any) -> str:
    return request(seq, at, outcome="connect", failed_edge="storefront->cart", **fields)


def summary(count: int, **fields: Any) -> str:
    record = {"kind": "summary", "run": "r", "started": 0, "stopped": 9, "reason": "asked to stop", "failed": 0}
    return json.dumps(record | {"due": count, "sent": count, "recorded": count} | fields)


def test_figures_of_an_edge() -> None:
    lines = [request(1, 1.0, us=2000), failed(2, 2.1), failed(3, 2.9), failed(4, 4.0, us=9000), request(5, 5.0)]
    stats = parse(lines).edges()["storefront->cart"]
    assert (stats.sent, stats.failed, stats.failure_seconds) == (5, 3, 2)
    assert (stats.p50_milliseconds, stats.p99_milliseconds) == (1.0, 9.0)
    assert (stats.new, stats.reused) == (0, 5), "the edge's own caller counts, not the hop before"
    assert stats.failures == {"storefront->cart: connect": 3}


def test_a_window_takes_its_start_and_leaves_its_end() -> None:
    records = parse([request(1, 1.0), request(2, 2.0), request(3, 3.0)])
    window = Window(1 * SECOND, 3 * SECOND)
    assert [r.sequence for r in records.within(window).requests] == [1, 2]
    assert window.seconds == 2


def test_a_request_that_the_mesh_sent_twice_is_counted() -> None:
    legs = [leg("load->storefront", attempts=2), leg("storefront->cart", attempts=1)]
    assert parse([request(1, 1.0, legs=legs), request(2, 1.0)]).edges()["storefront->cart"].retried == 1


def test_a_failure_has_the_protocol_of_the_hop_that_failed() -> None:
    way_there = failed(1, 1.0, protocol="tcp", legs=[leg("load->cart", outcome="status", status=503)])
    hop = leg("cart->ledger", protocol="tcp", outcome="closed")
    itself = failed(2, 2.0, protocol="tcp", legs=[leg("load->cart", status=502), hop])
    refused = failed(3, 3.0, protocol="tcp", legs=None)
    protocols = [r.failed_protocol for r in parse([refused, itself, way_there]).failures()]
    assert protocols == ["http", "tcp", "tcp"]


def test_stream_closings() -> None:
    opened = {"kind": "stream", "at": 1, "edge": "load->catalogue", "event": "opened", "pod": "catalogue-1"}
    closed = opened | {"event": "closed", "ms": 900, "gap_ms": 30, "code": "Unavailable", "reason": "going away"}
    (closing,) = parse([json.dumps(opened), json.dumps(closed)]).stream_closings()
    assert (closing.open_milliseconds, closing.longest_gap_milliseconds) == (900, 30)
    assert (closing.code, closing.reason) == ("Unavailable", "going away")


def test_complete_records_are_accepted() -> None:
    records = parse([request(2, 1.0), request(1, 1.0), summary(2)])
    assert records.check_complete().sent == 2


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([request(1, 1.0)], "no summary"),
        ([request(1, 1.0), summary(2)], "counts differ"),
        ([request(1, 1.0), request(1, 1.0), summary(2)], "different 1"),
        ([request(1, 1.0), summary(1, due=2)], "due 2, sent 1"),
        ([request(1, 1.0), summary(1, recorded=0)], "recorded 0"),
        ([request(1, 1.0), summary(1, error="disk full")], "disk full"),
    ],
)
def test_incomplete_records_are_refused(lines: list[str], reason: str) -> None:
    records: Records = parse(lines)
    with pytest.raises(RecordsError, match=reason):
        records.check_complete()


@pytest.mark.parametrize("line", ["", "{", "[]", '{"kind": "request"}', '{"kind": "surprise"}', "{}"])
def test_a_line_that_is_no_record_is_named(line: str) -> None:
    with pytest.raises(RecordsError, match="line 2"):
        parse([request(1, 1.0), line])


def test_percentiles() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7], 0.99) == 7
    assert math.isnan(percentile([], 0.5))
