"""Files of parameters: what no node can see is told before any node starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from planet_bringup.nodes import NODES
from planet_bringup.parameter_files import ParameterFileError, check, matches, sections, values

CONFIG = Path(__file__).resolve().parents[1] / "config"


def written(folder: Path, text: str) -> str:
    path = folder / "lab.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("/**/driver:\n  ros__parameters:\n\tport: x\n", 3, "'\\t' that cannot start any token"),
        ("/**/driver:\n  ros__parameters: [1, 2\n", 3, "expected ',' or ']'"),
        ("**/driver:\n  ros__parameters: {a: 1}\n", 1, "found '*'"),
        ("- port\n", 1, "it must have sections such as /**/driver, each with ros__parameters"),
        ("port: /dev/ergojr\n", 1, "'port' is neither a section with ros__parameters below it"),
        ("/**/driver:\n  limiter: {max_effort: 0.05}\n", 2, "'max_effort' is neither a section"),
        ("/**/driver:\n", 1, "'/**/driver' is neither a section with ros__parameters below it"),
        ("/**/driver: {}\n", 1, "'/**/driver' is neither a section with ros__parameters below it"),
        ("/**/driver:\n  ros__parameters:\n", 2, "ros__parameters must have parameters below it"),
        ("ros__parameters: {port: x}\n", 1, "and the name of a node above"),
    ],
)
def test_a_file_that_is_none_of_parameters_is_told_with_its_line(
    text: str, line: int, reason: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ParameterFileError) as caught:
        sections(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterFileError, match=r"lab\.yaml cannot be read as YAML: "):
        sections(str(path))


def test_sections_are_named_in_full_with_their_lines(tmp_path: Path) -> None:
    text = "ergojr:\n  driver:\n    ros__parameters: {a: 1}\n/replay:\n  ros__parameters: {b: 1}\n"
    assert sections(written(tmp_path, text)) == [("/ergojr/driver", 3), ("/replay", 5)]
    assert sections(written(tmp_path, "# nothing but a comment\n")) == []


@pytest.mark.parametrize(
    ("section", "nearest"),
    [
        ("/**/drivr", "/**/driver"),
        ("driver", "/**/driver"),
        ("/ergojr_1/driver", "/**/driver"),
        ("/**/lerner", "/learner"),
        ("/ergojr/learner", "/learner"),
    ],
)
def test_a_section_that_names_no_node_gets_a_warning_with_the_nearest(
    section: str, nearest: str, tmp_path: Path
) -> None:
    path = written(tmp_path, f"{section}:\n  ros__parameters: {{port: x}}\n")
    assert check(path, NODES) == [
        f"{path}, line 2: section /{section.strip('/')} names no node, so it sets nothing; "
        f"the nearest is {nearest}."
    ]


@pytest.mark.parametrize("section", ["/**", "/**/driver", "/*/driver", "ergojr/driver", "/learner"])
def test_a_section_that_names_a_node_gets_no_warning(section: str, tmp_path: Path) -> None:
    assert check(written(tmp_path, f"{section}:\n  ros__parameters: {{a: 1}}\n"), NODES) == []


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_files_set_parameters_of_one_node_a_section(path: Path) -> None:
    for section, _ in sections(str(path)):
        assert len([node for node in NODES if matches(section, node)]) == 1, section


@pytest.mark.parametrize("name", ["laptop", "paper", "test"])
def test_nodes_that_share_a_number_are_given_the_same(name: str) -> None:
    found = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())
    roller, replay, learner = (
        found[section]["ros__parameters"] for section in ("/**/roller", "/replay", "/learner")
    )
    assert roller["seed_episodes"] == learner["seed_episodes"]
    assert replay["capacity_steps"] == learner["capacity_steps"]


def test_of_what_several_files_set_the_last_counts_in_either_way_of_writing(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    paths = [
        written(
            first,
            "/**/roller:\n  ros__parameters:\n    seed: 1\n    planner: {horizon: 8, elites: 20}\n"
            "/learner:\n  ros__parameters: {seed: 5}\n",
        ),
        written(second, "ergojr:\n  roller:\n    ros__parameters: {planner.horizon: 4}\n"),
    ]
    assert values(paths, "/ergojr/roller") == {
        "seed": 1,
        "planner.horizon": 4,
        "planner.elites": 20,
    }
    assert values(paths, "/replay") == {}


@pytest.mark.parametrize("text", ["1e-3", "-2E5", ".5e+1", "1.e3"])
def test_a_number_with_an_exponent_is_one_as_it_is_in_ros(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"/learner:\n  ros__parameters: {{learning_rate: {text}}}\n")
    assert values([path], "/learner") == {"learning_rate": float(text)}
