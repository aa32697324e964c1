"""Every row of every decision table is needed: without it a test of the rules fails.

    python -m testbed.proofs.tables          (QUICK=1: a sample of the rows)

A table is a constant in capitals whose value is written out as a tuple, list, set or mapping, in the rooms of
ROOMS. Nobody has to register one. For each row in turn the module is loaded without that row, and the
tests of the rules run until the first one fails. The last line is one JSON object.
"""

from __future__ import annotations

import ast
import multiprocessing
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType

import pytest

from testbed.proofs.record import Proof, is_quick

ROOT = Path(__file__).resolve().parents[2]
SOURCES, TESTS = ROOT / "src", ROOT / "tests" / "rules"
ROOMS = ("meshguard/mesh", "meshguard/model/codes")
#: Constants that look like tables and are none, each with the reason.
NO_TABLES = {
    "PARTITION": "a path to a field",
    "MAX_SURGE": "a path to a field",
    "MAX_UNAVAILABLE": "a path to a field",
    "TEMPLATE_RESTART_MARK": "a path to a field",
    "TEMPLATE_INJECT": "a path to a field",
    "_REPLICAS": "a path to a field",
    "_TEMPLATE_ANNOTATIONS": "a path to a field",
    "PLACEHOLDER": "a value",
}
AT_ONCE = 2
SAMPLE = 24
LIKELY = 1
"""How many test files are tried before all of them are; loading a second one takes longer than most tests."""
#: The hypothesis plugin takes as long to load as the tests take to run; properties work without it.
_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
_KILLED = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)


@dataclass(frozen=True)
class Row:
    """One row of one table: what a mutant lacks."""

    file: Path
    table: str
    index: int
    text: str

    @property
    def module(self) -> str:
        """The name by which the module is imported."""
        parts = self.file.relative_to(SOURCES).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def __str__(self) -> str:
        return f"{self.module}:{self.table}[{self.index}] {self.text}"


def rows() -> list[Row]:
    """Find every row of every table."""
    files = (file for room in ROOMS for file in sorted((SOURCES / room).rglob("*.py")))
    return [row for file in files for row in _rows_of(file)]


def _rows_of(file: Path) -> Iterator[Row]:
    for table, value in _tables(ast.parse(file.read_text())):
        for index, element in enumerate(_elements(value)):
            yield Row(file, table, index, " ".join(ast.unparse(element).split())[:80])


def _tables(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in tree.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                if name.isupper() and name not in NO_TABLES and _elements(value):
                    yield name, _literal(value)


def _literal(value: ast.expr) -> ast.expr:
    """Look into `frozenset({...})` and the like."""
    return value.args[0] if isinstance(value, ast.Call) and len(value.args) == 1 else value


def _elements(value: ast.expr) -> Sequence[ast.expr]:
    literal = _literal(value)
    if isinstance(literal, ast.Dict):
        return [key for key in literal.keys if key is not None] if all(literal.keys) else []
    return literal.elts if isinstance(literal, ast.Tuple | ast.List | ast.Set) else []


class _WithoutRow(SourceFileLoader):
    """Loads a module without one row of a table."""

    def __init__(self, row: Row) -> None:
        super().__init__(row.module, str(row.file))
        self._row = row

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source without the row, past any cache."""
        tree = ast.parse(self._row.file.read_text())
        value = next(value for name, value in _tables(tree) if name == self._row.table)
        if isinstance(value, ast.Dict):
            del value.keys[self._row.index], value.values[self._row.index]
        else:
            del value.elts[self._row.index]  # type: ignore[attr-defined]
        return compile(tree, self._row.file, "exec")


@dataclass(frozen=True)
class _Finder(MetaPathFinder):
    """Finds the one module that is to be loaded without a row, and leaves all others alone."""

    row: Row

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self.row.module:
            return None
        package = self.row.file.name == "__init__.py"
        return spec_from_loader(fullname, _WithoutRow(self.row), is_package=package)


def outcome(row: Row | None, files: Sequence[Path]) -> pytest.ExitCode:
    """Run these tests without the row; to be called in a process of its own. None removes nothing."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if row:
        sys.meta_path.insert(0, _Finder(row))
    return pytest.ExitCode(pytest.main([*_OPTIONS, *map(str, files)]))


def likely(row: Row, files: Mapping[Path, str]) -> list[Path]:
    """Choose the test files that probably need the row: by the words and finding codes that they share with it.

    Parameters:
        files: every test file with its text.
    """
    words = {row.module.rsplit(".", 1)[-1], row.table, *re.findall(r"\w{4,}", row.text)}
    source = row.file.read_text()
    for name in re.findall(r"\w+", row.text):
        body = re.search(rf"^def {name}\(.*?(?=^\S|\Z)", source, re.MULTILINE | re.DOTALL)
        words.update(re.findall(r"MG\d{3}", body[0]) if body else ())
    shared = {file: sum(word in file.stem or word in text for word in words) for file, text in files.items()}
    return sorted(files, key=lambda file: (-shared[file], len(files[file])))[:LIKELY]


def main() -> int:
    """Make the proof and return the exit code: 0 when every row is needed."""
    chosen, files = rows(), {file: file.read_text() for file in sorted(TESTS.glob("test_*.py"))}
    if is_quick():
        chosen = random.Random(1).sample(chosen, min(SAMPLE, len(chosen)))
    # Forked from here, each child begins with pytest loaded and no module of meshguard.
    with (
        Proof("tables", quick=is_quick()) as proof,
        multiprocessing.get_context("fork").Pool(AT_ONCE, maxtasksperchild=1) as pool,
    ):
        if pool.apply(outcome, (None, list(files))) is not pytest.ExitCode.OK:
            print("the tests of the rules fail already, with every row in its place", file=sys.stderr)
            return 1
        left = chosen
        stages: tuple[Callable[[Row], Sequence[Path]], ...] = (lambda row: likely(row, files), lambda _: list(files))
        for choose in stages:
            ends = pool.starmap(outcome, [(row, choose(row)) for row in left], chunksize=1)
            left = [row for row, end in zip(left, ends, strict=True) if end not in _KILLED]
            print(f"  {len(chosen) - len(left)} of {len(chosen)} rows are needed by these tests", flush=True)
        proof.count("rows", Counter(f"{row.module}:{row.table}" for row in chosen))
        proof.note({"survivors": [str(row) for row in left]})
        proof.say({"rows": len(chosen), "killed": len(chosen) - len(left)})
    for row in left:
        print(f"no test needs {row}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
