"""The documentation's links and its table of parameters say what is so."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import doc_links
from planet_learner.config import LearnerConfig
from planet_model.config import (
    ExplorationConfig,
    NetworkConfig,
    ObjectiveConfig,
    PlannerConfig,
    TrainingConfig,
)
from planet_roller.config import RollerConfig

METHOD = doc_links.ROOT / "docs" / "method.md"

# Whose parameters the fields of a configuration are, and under which prefix.
OWNERS: dict[str, tuple[str, str, Any]] = {
    "RollerConfig": ("roller", "", RollerConfig),
    "ExplorationConfig": ("roller", "", ExplorationConfig),
    "PlannerConfig": ("roller", "planner.", PlannerConfig),
    "LearnerConfig": ("learner", "", LearnerConfig),
    "TrainingConfig": ("learner", "", TrainingConfig),
    "NetworkConfig": ("learner", "model.", NetworkConfig),
    "ObjectiveConfig": ("learner", "objective.", ObjectiveConfig),
}

# | what the paper says | `node parameter` | default | paper | laptop | [`Config.field`](...) |
ROW = re.compile(
    r"\|[^|]*\| `(?P<name>\w+ [\w.]+)` \|(?P<default>[^|]*)\|(?P<paper>[^|]*)\|(?P<laptop>[^|]*)"
    r"\| \[`(?P<owner>\w+Config)\.(?P<field>\w+)`"
)


@pytest.mark.parametrize("page", doc_links.PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_the_line_of_what_it_names(page: Path) -> None:
    assert doc_links.corrected(page) == page.read_text(), "run `python tools/doc_links.py`"


def test_a_link_follows_what_it_names_and_tells_what_is_gone(tmp_path: Path) -> None:
    code, page = tmp_path / "code.py", tmp_path / "page.md"
    code.write_text("class A:\n    size: int\n\n    def run(self): ...\n\ndef run(): return 1.5\n")
    page.write_text(
        "[`A.size`](code.py#L9) [`A.run`](code.py#L9) [`run`](code.py#L9) [`1.5`](code.py#L9)"
        " [code](code.py) [web](https://example.org#L9) [here](#L9)"
    )
    assert doc_links.corrected(page) == (
        "[`A.size`](code.py#L2) [`A.run`](code.py#L4) [`run`](code.py#L6) [`1.5`](code.py#L6)"
        " [code](code.py) [web](https://example.org#L9) [here](#L9)"
    )
    page.write_text("[`A.stop`](code.py#L1)")
    with pytest.raises(doc_links.LinkError, match=r"'A.stop' stands in 0 lines of code.py"):
        doc_links.corrected(page)
    page.write_text("[`run`](other.py)")
    with pytest.raises(doc_links.LinkError, match=r"page.md: there is no other.py"):
        doc_links.corrected(page)


def profile(name: str, node: str) -> dict[str, Any]:
    """What launch/config/`name`.yaml sets of a node, names with dots."""
    text = (doc_links.ROOT / "launch" / "config" / f"{name}.yaml").read_text()
    found: dict[str, Any] = {}

    def collect(values: dict[str, Any], prefix: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                collect(value, f"{prefix}{key}.")
            else:
                found[prefix + key] = value

    for pattern, values in yaml.safe_load(text).items():
        if pattern == "/**" or pattern.endswith(f"/{node}"):
            collect(values["ros__parameters"], "")
    return found


def test_the_table_of_parameters_is_that_of_the_configurations_and_the_profiles() -> None:
    rows = [row for line in METHOD.read_text().splitlines() if (row := ROW.match(line))]
    assert len(rows) > 30
    for row in rows:
        node, prefix, config = OWNERS[row["owner"]]
        parameter = prefix + row["field"]
        assert row["name"] == f"{node} {parameter}"
        default = next(f.default for f in dataclasses.fields(config) if f.name == row["field"])
        default = list(default) if isinstance(default, tuple) else default
        values = {name: profile(name, node).get(parameter, default) for name in ("paper", "laptop")}
        for name, value in {"default": default, **values}.items():
            assert yaml.safe_load(row[name].strip(" *")) == value, f"{name}: {row['name']}"


def test_bold_is_what_differs_from_the_paper() -> None:
    for row in filter(None, map(ROW.match, METHOD.read_text().splitlines())):
        paper = row["paper"].strip()
        for cell in (row["default"].strip(), row["laptop"].strip()):
            same = cell.strip("*") == paper.strip("*")
            # A bold `paper` is not what the paper has; what equals it is then bold, too.
            assert cell.startswith("**") == (same == paper.startswith("**")), row["name"]


def test_every_parameter_that_a_profile_sets_is_named() -> None:
    text = METHOD.read_text()
    for name in ("paper", "laptop"):
        for node in ("roller", "learner"):
            for parameter in profile(name, node):
                assert f"`{node} {parameter}`" in text or f"`{parameter}`" in text, parameter
