"""pypot is under the GPL 3: so is the package that imports it, and nothing imports that one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "src" / "ergojr_driver"
OUR_OWN = ("src", "launch", "experiments", "benchmarks", "tools", "compat")


def imports(path: Path) -> Iterator[str]:
    """Names of the packages that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def importers(package: str) -> set[Path]:
    files = (path for folder in OUR_OWN for path in (ROOT / folder).rglob("*.py"))
    return {path for path in files if package in imports(path)}


def test_only_one_module_of_the_driver_imports_pypot() -> None:
    modules = {path for path in importers("pypot") if "test" not in path.parts}
    assert modules == {DRIVER / "ergojr_driver" / "pypot_bus.py"}


def test_nothing_imports_the_driver_but_itself() -> None:
    found = importers("ergojr_driver")
    assert DRIVER / "ergojr_driver" / "driver_node.py" in found
    assert {path for path in found if not path.is_relative_to(DRIVER)} == set()


def test_the_driver_carries_its_own_licence() -> None:
    assert "GNU GENERAL PUBLIC LICENSE" in (DRIVER / "LICENSE").read_text()[:200]
    assert "GPL-3.0-or-later" in (DRIVER / "package.xml").read_text()
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
