"""`ros2 topic`, `node`, `service` and `param` beside a node that a launch file started."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
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
            "nested.deep.integer": 3,
            "nested.float": 2.0,
            "text": "7",
            "number": "0928",
            "truth": "n",
            "exponent": "1e5",
            "flag": True,
            "floats": [1.0, 2.5],
            "texts": ["a", "1"],
        }}],
    )])
"""

# Texts that ROS would take for values of other types.
STRINGS = {"text": "7", "number": "0928", "truth": "n", "exponent": "1e5"}
COMMANDS = {
    "node list": "node list",
    "topic list": "topic list -t",
    "topic info": "topic info -v /robot/words",
    "echo latched": "topic echo --once /robot/words",
    "echo field": "topic echo --once --field height /robot/image",
    "echo without arrays": "topic echo --once --no-arr /robot/image",
    "topic type": "topic type /robot/image",
    "type of nothing": "topic type /nothing",
    "node info": "node info /robot/teller",
    "info of nothing": "node info /nothing",
    "echo wrong type": "topic echo /nothing no_msgs/msg/Such",
    "service list": "service list -t",
    "param list": "param list /robot/teller",
    "param describe": "param describe /robot/teller number use_sim_time",
    "param dump": "param dump /robot/teller",
    "param unknown": "param get /robot/teller nothing",
    "param refused": "param set /robot/teller text 7",
    **{
        f"get {name}": f"param get /robot/teller {name}"
        for name in ("nested.deep.integer", "nested.float", "flag", "floats", "texts")
    },
    **{f"get {name}": f"param get /robot/teller {name}" for name in STRINGS},
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


def test_a_topic_s_type_is_printed(answers: Answers) -> None:
    assert answers["topic type"] == (0, "sensor_msgs/msg/Image")
    assert answers["type of nothing"] == (1, "")


def test_node_info_tells_topics_and_services(answers: Answers) -> None:
    code, text = answers["node info"]
    assert code == 0
    assert text.startswith("/robot/teller\n  Subscribers:\n")
    assert "  Publishers:\n    /parameter_events: rcl_interfaces/msg/ParameterEvent\n" in text
    assert "\n    /robot/image: sensor_msgs/msg/Image\n" in text
    assert "\n    /robot/flip: std_srvs/srv/SetBool\n" in text
    assert text.endswith("  Service Clients:\n\n  Action Servers:\n\n  Action Clients:\n")
    assert answers["info of nothing"] == (1, "Unable to find node '/nothing'")


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
        *((name, f"String value is: {text}") for name, text in STRINGS.items()),
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
    assert answers["param list"][1].startswith(
        "  exponent\n  flag\n  floats\n  nested.deep.integer\n"
    )
    assert answers["param unknown"] == (1, "Parameter not set")
    code, text = answers["param refused"]
    assert code == 1
    assert text.startswith("Setting parameter failed: ")


def test_parameters_are_described(answers: Answers) -> None:
    assert answers["param describe"] == (
        0,
        "Parameter name: number\n  Type: string\n  Constraints:\n"
        "Parameter name: use_sim_time\n  Type: boolean\n  Constraints:",
    )


def test_what_is_dumped_can_be_loaded(
    answers: Answers, environment_: dict[str, str], tmp_path: Path
) -> None:
    code, text = answers["param dump"]
    parameters = yaml.safe_load(text)["/robot/teller"]["ros__parameters"]
    assert code == 0
    assert parameters["nested"] == {"deep": {"integer": 3}, "float": 2.0}
    assert parameters["floats"] == [1.0, 2.5]
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/robot/teller:\n  ros__parameters:\n    nested: {deep: {integer: 4}, float: x}\n"
    )
    running = Running([*ROS2, "param", "load", "/robot/teller", str(file)], environment_)
    assert running.finish() == 1
    assert running.lines[0] == "Set parameter nested.deep.integer successful"
    assert running.lines[1].startswith("Set parameter nested.float failed: ")


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


def test_bw_prints_the_bandwidth(environment_: dict[str, str], talker: Running) -> None:
    running = Running([*ROS2, "topic", "bw", "-w", "20", "/robot/image"], environment_)
    running.wait_for(r"^Subscribed to \[/robot/image\]$")
    bandwidth = float(running.wait_for(r"^(\d+\.\d\d) KB/s from \d+ messages$")[1])
    running.wait_for(r"^\tMessage size mean: 0.\d\d KB min: 0.\d\d KB max: 0.\d\d KB$")
    running.signal(signal.SIGINT)
    assert running.finish() != 0
    assert "Traceback" not in running.output
    assert 3 < bandwidth < 12  # 20 messages a second of about 360 bytes


def test_pub_is_heard(environment_: dict[str, str], talker: Running) -> None:
    message = "{header: {frame_id: here}, height: 2, data: [1, 2]}"
    type_ = "sensor_msgs/msg/Image"
    echo = Running([*ROS2, "topic", "echo", "--once", "/heard", type_], environment_)
    pub = Running([*ROS2, "topic", "pub", "-1", "/heard", type_, message], environment_)
    assert echo.finish(timeout=40) == 0
    assert pub.finish() == 0
    assert yaml.safe_load(echo.output.removesuffix("---"))["data"] == [1, 2]
    assert pub.lines[0] == "Waiting for at least 1 matching subscription(s)..."
    assert pub.lines[1] == "publisher: beginning loop"
    assert pub.lines[2].startswith("publishing #1: sensor_msgs.msg.Image(header=")


def test_an_interface_is_shown_with_what_it_consists_of(environment_: dict[str, str]) -> None:
    running = Running([*ROS2, "interface", "show", "std_msgs/msg/Header"], environment_)
    assert running.finish() == 0
    assert "\nbuiltin_interfaces/Time stamp\n\tint32 sec\n\tuint32 nanosec\n" in running.output
    assert running.lines[0] == "# Standard metadata for higher-level stamped data types."
    bare = Running(
        [*ROS2, "interface", "show", "--no-comments", "std_srvs/srv/SetBool"], environment_
    )
    assert bare.finish() == 0
    assert bare.output == "bool data\n---\nbool success\nstring message"


def test_an_unknown_interface_is_one_sentence(environment_: dict[str, str]) -> None:
    for name, sentence in {
        "std_msgs/Header": "Invalid name 'std_msgs/Header'. Expected three parts separated by '/'",
        "no_msgs/msg/Such": "Unknown package 'no_msgs'",
        "std_msgs/msg/Such": "Could not find the interface 'std_msgs/msg/Such'",
    }.items():
        running = Running([*ROS2, "interface", "show", name], environment_)
        assert (running.finish(), running.output) == (1, sentence)
