"""The record of a proof: the last line that it prints, and, in the full form, a file with the raw counts."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
FOLDER = _ROOT / "docs" / "proofs"


def is_quick() -> bool:
    """True for the short form that `make test` runs."""
    return os.environ.get("QUICK") == "1"


class Proof:
    """Collects what a proof counted; use it as a context manager, and `say` its answer last."""

    def __init__(self, name: str, *, quick: bool) -> None:
        self._name, self._quick = name, quick
        self._raw: dict[str, Any] = {}
        self._notes: dict[str, Any] = {}
        self._answer: Mapping[str, Any] | None = None

    def __enter__(self) -> Proof:
        self._began = time.monotonic()
        self._commit = _commit()  # while the proof runs, somebody may commit
        return self

    def count(self, label: str, counts: Mapping[str, Any]) -> None:
        """Keep raw counts under a label; flat dataclasses become mappings.

        Not by `asdict`: it turns a Counter into one that counts its own pairs.
        """
        self._raw[label] = {key: vars(v) if is_dataclass(v) else v for key, v in counts.items()}

    def note(self, notes: Mapping[str, Any]) -> None:
        """Keep what explains the counts."""
        self._notes.update(notes)

    def say(self, answer: Mapping[str, Any]) -> None:
        """Set the answer: the JSON object of the last line."""
        self._answer = answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._answer is None:
            return
        if not self._quick:
            self._write(self._answer)
        print(json.dumps(self._answer), flush=True)

    def _write(self, answer: Mapping[str, Any]) -> None:
        document = {
            "proof": self._name,
            "commit": self._commit,
            "durationSeconds": round(time.monotonic() - self._began, 1),
            "answer": answer,
            "notes": self._notes,
            "counts": self._raw,
        }
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self._name}.json").write_text(json.dumps(document, indent=1, default=str) + "\n")


def _commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
