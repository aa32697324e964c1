"""A very small client of the API server, for waiting without a process for every question."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError

_ANSWER_SECONDS = 30
_WATCH_SECONDS = 3600


class ApiClient:
    """Reads from a testbed's API server, as the user of one of the testbed's own kubeconfigs."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._server: str = cluster["server"]
        self._token: str = config["users"][0]["user"]["token"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # a proxy of the environment is not meant for the loopback
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=authority)),
        )

    def is_ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            with self._open("/readyz", _ANSWER_SECONDS) as response:
                return response.read() == b"ok"
        except OSError:
            return False

    def get(self, path: str) -> dict[str, Any]:
        """Return an object or a list by its path.

        Raises:
            TestbedError: the API server refused or cannot be reached.
        """
        try:
            with self._open(path, _ANSWER_SECONDS) as response:
                answer: dict[str, Any] = json.load(response)
        except OSError as error:
            raise TestbedError(f"the API server did not answer {path}: {error}") from error
        return answer

    def watch(self, path: str, version: str) -> Iterator[dict[str, Any]]:
        """Yield the events of a list from a resource version on, until the API server ends the watch."""
        with self._open(f"{path}?watch=1&resourceVersion={version}", _WATCH_SECONDS) as response:
            for line in response:
                yield json.loads(line)

    def _open(self, path: str, timeout_seconds: float) -> HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "User-Agent": "testbed"}
        request = urllib.request.Request(self._server + path, headers=headers)
        response: HTTPResponse = self._opener.open(request, timeout=timeout_seconds)
        return response
