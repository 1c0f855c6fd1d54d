"""`ros2 topic`, `node`, `service` and `param` beside a node that a launch file started."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from running import HERE, ROS2, Running, environment_for

LAUNCH = f"""
from launch import LaunchDescription
from launch_ros.actions import Node
def generate_launch_description():
    return LaunchDescription([Node(
        executable={sys.executable!r},
        arguments=[{str(HERE / "talker.py")!r}],
        name="teller",
        namespace="robot",
        exec_name="teller",
        output="screen",
        remappings=[("latched", "words")],
        parameters=[{{
            "nested": {{"deep": {{"integer": 3}}, "float": 2.0}},
            "text": "7",
            "flag": True,
            "floats": [1, 2.5],
            "texts": ["a", "1"],
        }}],
    )])
"""

COMMANDS = {
    "node list": "node list",
    "topic list": "topic list -t",
    "topic info": "topic info -v /robot/words",
    "echo latched": "topic echo --once /robot/words",
    "echo field": "topic echo --once --field height /robot/image",
    "echo without arrays": "topic echo --once --no-arr /robot/image",
    "echo timeout": "topic echo --timeout 0.1 /silent std_msgs/msg/String",
    "echo wrong type": "topic echo /nothing no_msgs/msg/Such",
    "service list": "service list -t",
    "param list": "param list /robot/teller",
    "param unknown": "param get /robot/teller nothing",
    "param refused": "param set /robot/teller text 7",
    **{
        f"get {name}": f"param get /robot/teller {name}"
        for name in ("nested.deep.integer", "nested.float", "text", "flag", "floats", "texts")
    },
}
CALL = ["service", "call", "/robot/flip", "std_srvs/srv/SetBool"]

Answers = dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def environment_(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment_for(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def talker(
    environment_: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("launch") / "talker.launch.py"
    path.write_text(LAUNCH)
    running = Running([*ROS2, "launch", str(path)], environment_)
    running.wait_for("ready")
    yield running
    running.signal(signal.SIGINT)
    assert running.finish() == 0, running.output


@pytest.fixture(scope="module")
def answers(environment_: dict[str, str], talker: Running) -> Answers:
    """Give exit code and output of every command; several run at once, for they mostly wait."""
    commands = {name: text.split() for name, text in COMMANDS.items()}
    commands["call"] = [*CALL, "{data: true}"]
    commands["wrong call"] = [*CALL, "{date: true}"]
    names = list(commands)
    found = {}
    while names:
        batch, names = names[:6], names[6:]
        started = {name: Running([*ROS2, *commands[name]], environment_) for name in batch}
        for name, running in started.items():
            code = running.finish(timeout=40)
            found[name] = (code, running.output)
    return found


def test_a_latched_topic_is_echoed_late(answers: Answers) -> None:
    assert answers["echo latched"] == (0, "data: said once\n---")


def test_echo_shows_a_field_and_names_arrays(answers: Answers) -> None:
    assert answers["echo field"] == (0, "20\n---")
    code, text = answers["echo without arrays"]
    assert code == 0
    assert "  stamp:\n    sec: 0\n" in text
    assert "encoding: rgb8\n" in text
    assert text.endswith("data: '<sequence type: uint8, length: 300>'\n---")


def test_echo_ends_after_the_timeout(answers: Answers) -> None:
    assert answers["echo timeout"] == (0, "")


def test_an_unknown_type_is_one_sentence(answers: Answers) -> None:
    code, text = answers["echo wrong type"]
    assert code == 1
    assert text.startswith("The passed message type 'no_msgs/msg/Such' is invalid")
    assert "\n" not in text


def test_nodes_and_topics_are_listed(answers: Answers) -> None:
    assert answers["node list"] == (0, "/robot/teller")
    topics = answers["topic list"][1].splitlines()
    assert "/robot/image [sensor_msgs/msg/Image]" in topics
    assert "/robot/words [std_msgs/msg/String]" in topics


def test_topic_info_tells_the_qos(answers: Answers) -> None:
    text = answers["topic info"][1]
    assert text.startswith("Type: std_msgs/msg/String\n\nPublisher count: 1\n\nNode name: teller\n")
    assert "\n  Durability: TRANSIENT_LOCAL\n" in text
    assert "\nSubscription count: " in text


def test_services_are_listed_and_called(answers: Answers) -> None:
    assert "/robot/flip [std_srvs/srv/SetBool]\n" in answers["service list"][1]
    code, text = answers["call"]
    assert code == 0
    assert text.rstrip().endswith(
        "requester: making request: std_srvs.srv.SetBool_Request(data=True)\n\nresponse:\n"
        "std_srvs.srv.SetBool_Response(success=True, message='flipped')"
    )


def test_a_request_with_a_wrong_field_is_refused(answers: Answers) -> None:
    code, text = answers["wrong call"]
    assert code == 1
    assert "has no field 'date'" in text


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("nested.deep.integer", "Integer value is: 3"),
        ("nested.float", "Double value is: 2.0"),
        ("text", "String value is: 7"),
        ("flag", "Boolean value is: True"),
        ("floats", "Double values are: [1.0, 2.5]"),
        ("texts", "String values are: ['a', '1']"),
    ],
)
def test_parameters_reach_the_node_with_their_types(
    answers: Answers, name: str, printed: str
) -> None:
    assert answers[f"get {name}"] == (0, printed)


def test_parameters_are_listed_and_refused(answers: Answers) -> None:
    assert answers["param list"][1].startswith("  flag\n  floats\n  nested.deep.integer\n")
    assert answers["param unknown"] == (1, "Parameter not set")
    code, text = answers["param refused"]
    assert code == 1
    assert text.startswith("Setting parameter failed: ")


def test_a_parameter_is_set(answers: Answers, environment_: dict[str, str]) -> None:
    running = Running([*ROS2, "param", "set", "/robot/teller", "flag", "false"], environment_)
    assert running.finish() == 0
    assert running.output == "Set parameter successful"
    running = Running([*ROS2, "param", "get", "--hide-type", "/robot/teller", "flag"], environment_)
    assert running.finish() == 0
    assert running.output == "False"


def test_hz_prints_the_rate(environment_: dict[str, str], talker: Running) -> None:
    running = Running([*ROS2, "topic", "hz", "-w", "20", "/robot/image"], environment_)
    rate = float(running.wait_for(r"^average rate: (\d+\.\d{3})$")[1])
    running.wait_for(r"^\tmin: \d\.\d{3}s max: \d\.\d{3}s std dev: \d\.\d{5}s window: \d+$")
    running.signal(signal.SIGINT)
    running.finish()
    assert 10 < rate < 30
