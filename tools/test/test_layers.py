"""What each package may import: packages are had by those above them, and nowhere in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
FLOOR = {"planet_core", "planet_msgs"}
MAY_IMPORT: dict[str, set[str]] = {
    "planet_core": set(),
    "planet_model": {"planet_core"},
    "planet_node": {"planet_core"},
    "planet_replay": FLOOR | {"planet_node"},
    "planet_learner": FLOOR | {"planet_node"},
    "planet_roller": FLOOR | {"planet_node"},
    "ergojr_description": set(),
    "ergojr_driver": FLOOR | {"ergojr_description", "planet_node"},
    "ergojr_sim": FLOOR | {"ergojr_description", "planet_node"},
}
AT_THE_EDGE = ("_node.py", "/testing.py")
"""Ends of the names of files that may import rclpy, besides ros_*.py and all of planet_node."""
NO_ROS = {"rclpy", "planet_msgs", "sensor_msgs", "std_msgs", "diagnostic_msgs"}


def imported(file: Path) -> Iterator[str]:
    """The first parts of the names of all modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.split(".")[0]


def files(package: str) -> list[Path]:
    return sorted((SOURCE / package / package).rglob("*.py"))


def test_every_package_has_its_place() -> None:
    there = {path.parent.name for path in SOURCE.glob("*/setup.py")}
    assert there == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    ours = set(MAY_IMPORT) | {"planet_msgs", "planet_bringup", "experiments", "benchmarks"}
    for file in files(package):
        above = set(imported(file)) & ours - {package} - MAY_IMPORT[package]
        assert not above, f"{file} imports {', '.join(sorted(above))}"


@pytest.mark.parametrize("package", sorted(set(MAY_IMPORT) - {"planet_node"}))
def test_ros_is_imported_at_the_edge_alone(package: str) -> None:
    for file in files(package):
        if not file.name.startswith("ros_") and not str(file).endswith(AT_THE_EDGE):
            found = set(imported(file)) & NO_ROS
            assert not found, f"{file} imports {', '.join(sorted(found))}"


@pytest.mark.parametrize("package", sorted(set(MAY_IMPORT) - {"planet_model"}))
def test_only_a_method_needs_pytorch(package: str) -> None:
    for file in files(package):
        assert "torch" not in set(imported(file)), file
