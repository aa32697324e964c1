"""A very small client of the API server, for waiting without a process for every question."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from testbed.errors import TestbedError
from testbed.paths import RunPaths


class ApiClient:
    """Reads from a testbed's API server through the forwarder, as the user ``testbed:status``."""

    def __init__(self, paths: RunPaths) -> None:
        config = json.loads((paths.credentials / "status.kubeconfig").read_text())
        self._server: str = config["clusters"][0]["cluster"]["server"]
        self._token: str = config["users"][0]["user"]["token"]
        self._trust = ssl.create_default_context(cafile=str(paths.credentials / "ca.crt"))

    def is_ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return self._text("/readyz") == "ok"
        except OSError:
            return False

    def get(self, path: str) -> dict[str, Any]:
        """Return an object or a list by its path.

        Raises:
            TestbedError: the API server refused or cannot be reached.
        """
        try:
            answer: dict[str, Any] = json.loads(self._text(path))
        except OSError as error:
            raise TestbedError(f"the API server did not answer {path}: {error}") from error
        return answer

    def find(self, path: str) -> dict[str, Any] | None:
        """Return an object by its path, or None if there is no such object."""
        try:
            return self.get(path)
        except TestbedError as error:
            if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == 404:
                return None
            raise

    def _text(self, path: str) -> str:
        request = urllib.request.Request(
            self._server + path,
            headers={"Authorization": f"Bearer {self._token}", "User-Agent": "testbed"},
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # a proxy of the environment is not meant for the loopback
            urllib.request.HTTPSHandler(context=self._trust),
        )
        with opener.open(request, timeout=10) as response:
            body: bytes = response.read()
        return body.decode()
