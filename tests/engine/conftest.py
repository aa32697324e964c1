"""What all tests of the engine share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here processes die, not machines; that entries reach the disk is shown by the journal's own tests."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
