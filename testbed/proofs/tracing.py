"""One failed request, followed from hop to hop through the access logs of the proxies that saw it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from testbed.shop.records import Request

_TOLD = (
    "start_time",
    "response_code",
    "response_flags",
    "response_code_details",
    "upstream_cluster",
    "upstream_host",
    "upstream_transport_failure_reason",
    "attempts",
    "duration",
)


def traced(logs: Path, request: Request) -> str:
    """Say what each leg of the request came to, and what the proxies on its way wrote about it."""
    legs = ", ".join(f"{leg.edge} {leg.outcome} {leg.status} {leg.error}".strip() for leg in request.legs)
    lines = [f"{request.identity} {request.edge} {request.outcome} at {request.failed_edge}: {legs}"]
    return "\n      ".join([*lines, *_proxies(logs, request.identity)])


def _proxies(logs: Path, identity: str) -> list[str]:
    folders = [str(path) for path in sorted(logs.glob("*/istio-proxy"))]
    if not folders:
        return []
    found = subprocess.run(["grep", "-r", "-F", identity, *folders], capture_output=True, text=True, check=False)
    return [_line(*line.split(":", 1)) for line in found.stdout.splitlines()]


def _line(file: str, text: str) -> str:
    pod = Path(file).parts[-3]
    try:
        entry: dict[str, Any] = json.loads(text[text.index("{") :])
    except ValueError:
        return f"{pod}: {text}"
    return f"{pod}: " + " ".join(str(entry[key]) for key in _TOLD if entry.get(key) not in (None, "", "-"))
