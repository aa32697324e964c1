"""The registry of finding codes and the rules that use it agree."""

from __future__ import annotations

import re
from pathlib import Path

import meshguard
from meshguard.model import codes
from meshguard.model.codes import CODES

PACKAGE = Path(meshguard.__file__).parent
_USE = re.compile(r"\bMG\d{3}\b")


def used() -> set[str]:
    """Every code that the sources name outside the registry."""
    registry = Path(codes.__file__).parent
    texts = (file.read_text() for file in PACKAGE.rglob("*.py") if registry not in file.parents)
    return {code for text in texts for code in _USE.findall(text)}


def test_every_code_that_a_rule_names_is_in_the_registry() -> None:
    assert used() - CODES.keys() == set()


def test_every_code_of_the_registry_is_named_by_a_rule() -> None:
    assert CODES.keys() - used() == set()


def test_every_code_explains_itself() -> None:
    for code in CODES.values():
        assert all((code.title, code.consequence, code.remedy, code.source, code.example)), code.id


def test_every_code_of_workloads_and_world_is_expected_by_a_test() -> None:
    tests = Path(__file__).parent.parent
    expected = {code for file in tests.rglob("*.py") for code in re.findall(r"MG\d{3}", file.read_text())}
    assert {code for code in CODES if code >= "MG3"} - expected == set()
