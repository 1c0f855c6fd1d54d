"""Uses everything of launch and launch_ros that compat has; see compare_with_real.py.

Its nodes are executables of the package `recorded`, or the recorder itself (by RECORDER).
"""

from pathlib import Path

from launch.actions import (
    AppendEnvironmentVariable,
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
    TimerAction,
    UnsetEnvironmentVariable,
)
from launch.conditions import IfCondition, UnlessCondition
from launch.event_handlers import OnProcessExit, OnProcessStart, OnShutdown
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    AndSubstitution,
    EnvironmentVariable,
    EqualsSubstitution,
    IfElseSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    NotSubstitution,
    OrSubstitution,
    PathJoinSubstitution,
    PythonExpression,
    TextSubstitution,
    ThisLaunchFileDir,
)
from launch_ros.actions import (
    Node,
    PushRosNamespace,
    SetParameter,
    SetParametersFromFile,
    SetRemap,
)
from launch_ros.descriptions import Parameter, ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

PARAMETERS = Path(__file__).parent / "parameters.yaml"
RECORDER = EnvironmentVariable("RECORDER")
ROBOTS = LaunchConfiguration("robots")


def robots(context: LaunchContext) -> list[Node]:
    count = int(ROBOTS.perform(context))
    return [
        Node(executable=RECORDER, name="robot", namespace=f"robot_{i}", exec_name=f"robot_{i}")
        for i in range(count)
    ]


def exited(event: ProcessExited, context: LaunchContext) -> LogInfo:
    return LogInfo(msg=f"{event.process_name} ended with {event.returncode}")


def generate_launch_description() -> LaunchDescription:
    dies = ExecuteProcess(cmd=["sh", "-c", "exit 3"], name="dies")
    told_to_stop = Node(executable=RECORDER, name="told_to_stop", exec_name="told_to_stop")
    return LaunchDescription(
        [
            DeclareLaunchArgument("robots", default_value="2", description="How many"),
            DeclareLaunchArgument("mode", default_value="async", choices=["async", "sync"]),
            DeclareLaunchArgument("twice", default_value=[ROBOTS, TextSubstitution(text="0")]),
            DeclareLaunchArgument("verbose", default_value="true", description="Say more."),
            SetEnvironmentVariable("SET_FOR_ALL", ["mode ", LaunchConfiguration("mode")]),
            AppendEnvironmentVariable("APPENDED", "first"),
            AppendEnvironmentVariable("APPENDED", "second", prepend=True, separator="+"),
            UnsetEnvironmentVariable("HOME"),
            LogInfo(msg=["twice is ", LaunchConfiguration("twice")]),
            OpaqueFunction(function=robots),
            # Parameters of every type, and from everywhere
            Node(
                executable=RECORDER,
                exec_name="typed",
                name="typed",
                namespace="somewhere/else",
                parameters=[
                    PARAMETERS,
                    str(PARAMETERS),
                    ParameterFile(PathJoinSubstitution([ThisLaunchFileDir(), "parameters.yaml"])),
                    {
                        "a": {"b": {"c": 1, "d": 2.0}, "e": True},
                        "int": 3,
                        "float": 1e-5,
                        "whole_float": 3.0,
                        "large": 2**62,
                        "text": "7",
                        "empty": "",
                        "yes": "yes",
                        "lines": "one\ntwo: 'x'",
                        "ints": [1, 2, 3],
                        "mixed": [1, 2.5],
                        "floats": (0.5, 1.5),
                        "bools": [True, False],
                        "texts": ["1", "b c", "true"],
                        "substituted_int": ROBOTS,
                        "substituted_text": ParameterValue(ROBOTS, value_type=str),
                        "substituted_float": ParameterValue(ROBOTS, value_type=float),
                        "substituted_list": ParameterValue(["[", ROBOTS, ", 5]"]),
                        "typed_list": ParameterValue([1, 2], value_type=list[int]),
                        "joined": [ROBOTS, ".5"],
                        "list_of_substitutions": [[ROBOTS], ["3"]],
                        (LaunchConfiguration("mode"), "_key"): LaunchConfiguration("mode"),
                    },
                    Parameter("single", 4),
                ],
                remappings=[("image", "camera/image"), ("~/x", ["/y_", ROBOTS])],
                arguments=["plain", ["joined ", ROBOTS]],
                ros_arguments=["--log-level", "info"],
                additional_env={"ONLY_HERE": LaunchConfiguration("mode")},
                respawn=True,
                respawn_delay=0.1,
                on_exit=[LogInfo(msg="typed has ended")],
            ),
            Node(
                executable=RECORDER,
                parameters=[{"x": 1}],
                output="log",
                respawn=TextSubstitution(text="false"),
            ),
            Node(executable=RECORDER, name="named", parameters=[{"x": 1}], output="both"),
            Node(executable=RECORDER, namespace="/absolute", parameters=[{"x": 1}]),
            # Scopes
            GroupAction(
                [
                    PushRosNamespace("outer"),
                    PushRosNamespace(["in", "ner"]),
                    SetParameter("everywhere", 5),
                    SetParameter("flag", True),
                    SetParametersFromFile(str(PARAMETERS)),
                    SetRemap("from", "to"),
                    SetLaunchConfiguration("mode", "scoped"),
                    SetEnvironmentVariable("SCOPED", "yes"),
                    Node(executable=RECORDER, name="inside", remappings=[("a", "b")]),
                    Node(executable=RECORDER, name="below", namespace="sub"),
                    Node(executable=RECORDER, name="aside", namespace="/top"),
                    ExecuteProcess(cmd=[RECORDER, LaunchConfiguration("mode")], name="process"),
                ]
            ),
            GroupAction(
                [ExecuteProcess(cmd=[RECORDER, LaunchConfiguration("kept")], name="bare")],
                forwarding=False,
                launch_configurations={"kept": LaunchConfiguration("mode")},
            ),
            GroupAction([SetLaunchConfiguration("leaks", "out")], scoped=False),
            Node(executable=RECORDER, name="after", arguments=[LaunchConfiguration("mode")]),
            # Includes: arguments stay set behind them unless scoped
            GroupAction(
                [
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/included.launch.py"]),
                        launch_arguments={"name": "first", "mode": "sync"}.items(),
                    )
                ]
            ),
            IncludeLaunchDescription(
                str(Path(__file__).parent / "included.launch.py"),
                launch_arguments=[("name", ["second_", LaunchConfiguration("leaks")])],
            ),
            Node(executable=RECORDER, name="last", arguments=[LaunchConfiguration("name")]),
            # Conditions and expressions
            *[
                ExecuteProcess(
                    cmd=[RECORDER, f"condition {number}"], name=f"if_{number}", condition=condition
                )
                for number, condition in enumerate(
                    [
                        IfCondition(LaunchConfiguration("verbose")),
                        UnlessCondition(LaunchConfiguration("verbose")),
                        IfCondition(EqualsSubstitution(ROBOTS, "2.0")),
                        IfCondition(NotEqualsSubstitution(LaunchConfiguration("mode"), "sync")),
                        IfCondition(PythonExpression([ROBOTS, " > 1 and sqrt(4) == 2"])),
                        IfCondition(AndSubstitution("true", NotSubstitution("false"))),
                        IfCondition(OrSubstitution("false", "false")),
                    ]
                )
            ],
            ExecuteProcess(
                cmd=[
                    RECORDER,
                    PythonExpression(["'", LaunchConfiguration("mode"), "'.upper()"]),
                    EnvironmentVariable("NOT_SET", default_value="default"),
                    IfElseSubstitution(LaunchConfiguration("verbose"), "loud", "quiet"),
                    LaunchConfiguration("not_set", default="also default"),
                    PathJoinSubstitution([FindPackageShare("ament_index_python"), "x"]),
                ],
                cwd="/",
                env={"RECORD_DIR": EnvironmentVariable("RECORD_DIR"), "CLEAN": "1"},
                additional_env={"MORE": "2"},
                name="expressions",
                prefix="env PREFIXED=yes",
                output={"both": "log"},
            ),
            ExecuteProcess(cmd=[RECORDER, "for", "$((1", "+", "1))"], shell=True, name="shell"),
            ExecuteProcess(cmd=[RECORDER, "pinned"], prefix="taskset --cpu-list 0"),
            ExecuteProcess(
                cmd=[RECORDER, "bounded"], name="bounded", respawn=True, respawn_max_retries=1
            ),
            # Events
            dies,
            told_to_stop,
            RegisterEventHandler(OnProcessExit(target_action=dies, on_exit=exited)),
            RegisterEventHandler(
                OnProcessExit(
                    target_action=dies,
                    on_exit=[ExecuteProcess(cmd=[RECORDER, "after dies"], name="after_dies")],
                )
            ),
            RegisterEventHandler(
                OnProcessStart(
                    target_action=told_to_stop,
                    on_start=TimerAction(
                        period=1.5,
                        actions=[
                            LogInfo(msg="the time is over"),
                            EmitEvent(
                                event=ShutdownProcess(process_matcher=matches_action(told_to_stop))
                            ),
                        ],
                    ),
                )
            ),
            RegisterEventHandler(OnShutdown(on_shutdown=[LogInfo(msg="good bye")])),
            TimerAction(period=1000.0, actions=[LogInfo(msg="never")]),
        ]
    )
