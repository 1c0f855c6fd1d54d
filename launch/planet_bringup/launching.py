"""What the launch files share: arguments, nodes with their cores and settings, the end of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from launch.actions import DeclareLaunchArgument, RegisterEventHandler, Shutdown, TimerAction
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import Action, LaunchContext
from planet_bringup import cores, parameter_files
from planet_bringup.cores import MALLOC, Fixed, Share, Times
from planet_bringup.endings import Endings
from planet_bringup.nodes import NODES, ROBOT, ROBOT_NODES
from planet_core import domains, run_folder, run_id
from planet_core.domains import Claim
from planet_roller.config import RollerConfig

YIELDING = 15  # niceness of what no motion waits for
TRIAL_TIMEOUT = 60.0  # s for the measurement of threads, which takes a few with a small model
LAST_SAVE = 60  # s that a learner on a busy computer has for its last checkpoint
URGENT = 10  # priority under SCHED_RR of what a motion waits for; the bus process has a higher one

T = TypeVar("T")

_LOG = get_logger("planet_bringup")
_AS_MEASURED = (
    "0 = as many as make it faster, measured at the start where there are more than two cores."
)


def arguments(
    data_dir: str, *, seed: str = "0", learning: bool = True
) -> list[DeclareLaunchArgument]:
    """The arguments of every launch file, with its defaults of `data_dir` and `seed`.

    Those of the learner are left out where nothing is learnt.
    """
    declared = [
        DeclareLaunchArgument(
            "profile",
            default_value="laptop",
            choices=["laptop", "paper", "test"],
            description="Sizes and budgets: config/<profile>.yaml.",
        ),
        DeclareLaunchArgument(
            "config",
            default_value="",
            description="A further file of ROS parameters, laid over the profile's.",
        ),
        DeclareLaunchArgument(
            "data_dir",
            default_value=data_dir,
            description="What is written lies there; training goes on where it stopped.",
        ),
        DeclareLaunchArgument(
            "seed",
            default_value=seed,
            description="Seed of what is random: simulator or operator, roller, learner.",
        ),
        DeclareLaunchArgument(
            "roller_device", default_value="cpu", description="Where the roller plans."
        ),
        DeclareLaunchArgument(
            "roller_threads", default_value="0", description=f"Of the roller; {_AS_MEASURED}"
        ),
    ]
    if learning:
        declared += [
            DeclareLaunchArgument(
                "mode",
                default_value="async",
                choices=["async", "sync"],
                description="async: act and train at once (Robo-PlaNet); sync: in turn (PlaNet).",
            ),
            DeclareLaunchArgument(
                "collect_interval",
                default_value="100",
                description="Updates per episode in sync mode (C of PlaNet).",
            ),
            DeclareLaunchArgument(
                "minutes",
                default_value="0",
                description="Stop after this many minutes; 0 runs until stopped.",
            ),
            DeclareLaunchArgument(
                "learner_device", default_value="cpu", description="Where the learner trains."
            ),
            DeclareLaunchArgument(
                "learner_threads", default_value="0", description=f"Of the learner; {_AS_MEASURED}"
            ),
        ]
    return declared


def robot_arguments() -> list[DeclareLaunchArgument]:
    """The arguments of the launch files with a simulated robot."""
    return [
        DeclareLaunchArgument(
            "real_time_factor",
            default_value="0.0",
            description="Simulated seconds per second; 0 is lockstep, as fast as it goes.",
        ),
        DeclareLaunchArgument(
            "control",
            default_value="torque",
            choices=["torque", "position"],
            description="torque: the robot's; position: the paper's environment.",
        ),
    ]


class Run:
    """One launch: its arguments as values, and the nodes that every robot needs.

    Args:
        essential, ends: see `Endings`.
        learning: false where nothing is learnt, so that acting has all cores (but one, where the
            simulator keeps a pace of its own).
        log_level: of the nodes, from which on they are heard.
    """

    def __init__(
        self,
        context: LaunchContext,
        essential: Sequence[str] = (),
        ends: Sequence[str] = (),
        *,
        learning: bool = True,
        log_level: str = "info",
    ) -> None:
        self._context = context
        self._log_level = log_level
        self._endings = Endings(essential, ends)
        self._learning = learning
        self._mode = self.argument("mode") if learning else "sync"
        self._seed = self.number("seed", int)
        self._minutes = self.number("minutes", float) if learning else 0
        self.data_dir = prepare(self.path("data_dir"))
        self.config = Path(FindPackageShare("planet_bringup").perform(context)) / "config"
        self.files = [str(self.config / f"{self.argument('profile')}.yaml")]
        self._over = self._further_file()
        self.machine = cores.read()
        self._run_id = run_id.new()
        enter_domain(self.data_dir)

    @property
    def run_id(self) -> dict[str, Any]:
        """The parameter `run_id`: of the run in `data_dir` after `begin`, until then a new one."""
        return {"run_id": self._run_id}

    @property
    def seed(self) -> dict[str, Any]:
        """The parameter `seed`."""
        return {"seed": self._seed}

    def argument(self, name: str) -> str:
        """The value of a launch argument."""
        return str(LaunchConfiguration(name).perform(self._context))

    def number(self, name: str, kind: type[int] | type[float]) -> int | float:
        """The value of a launch argument that is a number; one sentence if it is none."""
        text = self.argument(name)
        try:
            return kind(text)
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            raise RuntimeError(f"{name} is '{text}', but must be {expected}.") from None

    def path(self, name: str) -> Path:
        """The absolute path that a launch argument names; one sentence where there is no home.

        A relative one would not reach a node as it is: ROS takes n, 0928 and 1e5 for values of
        other types.
        """
        text = self.argument(name)
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError:
            raise RuntimeError(
                f"{name} is '{text}', but this user has no home directory: name another."
            ) from None

    @cached_property
    def shares(self) -> tuple[Share, Share]:
        """What acting and training compute with; said in a line each when it is first asked for.

        In async mode they have cores of their own: sharing them makes a plan four times as slow.
        In sync mode one waits for the other, and each has them all.
        """
        if self._learning:
            together, training = self._mode == "async", self._fixed("learner")
        else:
            together = self.number("real_time_factor", float) > 0.0
            training = (1, "for all else")
        fixed = (self._fixed("roller"), training)
        try:
            acting, training_share = cores.share(
                self.machine, together=together, fixed=fixed, measure=self._measure
            )
        except subprocess.TimeoutExpired:
            why = f"since more could not be measured in {TRIAL_TIMEOUT:g} s"
            acting, training_share = cores.share(
                self.machine,
                together=together,
                fixed=(fixed[0] or (1, why), fixed[1] or (1, why)),
                measure=self._measure,
            )
        told = {"roller": acting, "learner": training_share}
        for name in told if self._learning else ["roller"]:
            _LOG.info(f"{name}: {told[name]}")
        return acting, training_share

    @property
    def acting(self) -> Share:
        """What the roller computes with."""
        return self.shares[0]

    @property
    def training(self) -> Share:
        """What the learner computes with."""
        return self.shares[1]

    def _fixed(self, node: str) -> Fixed | None:
        """The threads of a node that are not to be chosen, and why; None: they are."""
        threads = self.number(f"{node}_threads", int)
        if threads < 0:
            raise RuntimeError(f"{node}_threads is {threads}, but must be at least 0.")
        if threads:
            return int(threads), "as asked"
        device = self.argument(f"{node}_device")
        return None if device == "cpu" else (1, f"since it computes on {device}")

    def _measure(self, plan: Sequence[int], update: Sequence[int]) -> tuple[Times, Times]:
        """See `cores.share`.

        Raises RuntimeError, one sentence, when it cannot be measured, and TimeoutExpired.
        """
        _LOG.info("measuring how many threads of roller and learner pay")
        files = [*self.files, *self._over]
        asked = {
            "plan": plan,
            "update": update,
            "roller": parameter_files.values(files, f"/{ROBOT}/roller"),
            "learner": parameter_files.values(files, "/learner"),
        }
        failed = (
            "how many threads pay could not be measured (roller_threads, learner_threads set it)"
        )
        trial = subprocess.run(
            [sys.executable, "-m", "planet_learner.thread_trial"],
            input=json.dumps(asked),
            capture_output=True,
            check=False,
            text=True,
            timeout=TRIAL_TIMEOUT,
            env={**os.environ, **MALLOC, "OMP_NUM_THREADS": str(max([*plan, *update]))},
        )
        if trial.returncode != 0:
            reason = (trial.stderr.strip().splitlines() or [f"exit code {trial.returncode}"])[-1]
            raise RuntimeError(f"{failed}: {reason}.")
        found = json.loads(trial.stdout.splitlines()[-1])
        return dict(found["plan"]), dict(found["update"])

    def node(
        self,
        package: str,
        executable: str,
        name: str,
        parameters: Sequence[dict[str, Any]] = (),
        *,
        cpus: Sequence[int] | None = None,
        again: bool = True,
        threads: int = 1,
        yields: bool = False,
        urgent: bool = False,
        **options: Any,
    ) -> Node:
        """A node on `cpus` (None: wherever there is room); `name` is one of NODES.

        `again`: started again when it ends.
        `threads`: of its tensors' operations.
        One that `yields` gets a small share of a core that others want, yet never none: a process
        of the idle class would not even finish its imports on a full core. One that is `urgent`
        goes before whatever else the computer does, where that is allowed.
        """
        files = [*self.files, *self._over]
        for path in files:
            check(path)
        prefix = f"nice -n {YIELDING} " if yields else ""
        if urgent and may_go_first():
            prefix = f"chrt --rr {URGENT} "
        if cpus is not None:
            prefix += f"taskset --cpu-list {cores.cpu_list(cpus)}"
        if prefix:
            options["prefix"] = prefix
        if name in ROBOT_NODES:
            options["namespace"] = ROBOT
        if again:
            options |= {"respawn": True, "respawn_delay": 1.0}
        return Node(
            package=package,
            executable=executable,
            name=name,
            exec_name=name,
            parameters=[*files, *parameters],
            ros_arguments=["--log-level", self._log_level],
            additional_env={**MALLOC, "OMP_NUM_THREADS": str(threads)},
            output="screen",
            **options,
        )

    def roller(self, *, urgent: bool = False, **parameters: Any) -> Node:
        """The roller, on its share; see `node` for `urgent`."""
        common = {
            "data_dir": str(self.data_dir),
            **self.run_id,
            **self.seed,
            "device": self.argument("roller_device"),
            "threads": self.acting.threads,
        }
        return self.node(
            "planet_roller",
            "roller_node",
            "roller",
            [{**common, **parameters}],
            cpus=self.acting.cpus,
            threads=self.acting.threads,
            urgent=urgent,
        )

    def replay(self, cpus: Sequence[int] | None = None, yields: bool = False) -> Node:
        """The replay; see `node` for `cpus` and `yields`."""
        return self.node(
            "planet_replay",
            "replay_node",
            "replay",
            [{"data_dir": str(self.data_dir), **self.run_id}],
            cpus=cpus,
            yields=yields,
        )

    def learning(self, yields: bool = False) -> list[Node]:
        """Roller, replay, learner and the line of progress.

        A learner that `yields` trains wherever the nodes that move a robot leave time. The replay
        and the line of progress yield, too: no motion waits for them. None of these is held to a
        core, nor is what moves the robot: one that is full starves a node while another is free.
        """
        learner = {
            "data_dir": str(self.data_dir),
            **self.run_id,
            **self.seed,
            "mode": self._mode,
            "device": self.argument("learner_device"),
            "threads": self.training.threads,
            "collect_interval": self.number("collect_interval", int),
        }
        light = None if yields else self.acting.cpus
        return [
            self.roller(mode=self._mode, urgent=yields),
            self.replay(light, yields=yields),
            self.node(
                "planet_learner",
                "learner_node",
                "learner",
                [learner],
                cpus=None if yields else self.training.cpus,
                threads=self.training.threads,
                yields=yields,
                sigkill_timeout=str(LAST_SAVE),
            ),
            self.node("planet_bringup", "progress_node", "progress", cpus=light, yields=yields),
        ]

    def ending(self) -> list[Action]:
        """What ends the launch besides Ctrl-C."""
        actions: list[Action] = [RegisterEventHandler(OnProcessExit(on_exit=self._on_exit))]
        if self._minutes > 0:
            reason = f"{self._minutes:g} minutes are over"
            actions.append(
                TimerAction(period=self._minutes * 60, actions=[Shutdown(reason=reason)])
            )
        return actions

    def begin(self, *, control: str, control_period: float) -> None:
        """Begin the run of `data_dir`, or go on with it (see `run_folder.begin`)."""
        meaning = self._meaning(control) | {"control_period": control_period}
        self._run_id = run_folder.begin(self.data_dir, meaning)

    def check(self, folder: Path, *, control: str) -> None:
        """Refuse to act as no model was trained for in `folder` (see `run_folder.check`)."""
        run_folder.check(folder, self._meaning(control))

    def _meaning(self, control: str) -> dict[str, Any]:
        repeat = self.parameter("roller", "action_repeat", RollerConfig.action_repeat)
        return {"control": control, "action_repeat": repeat}

    def parameter(self, node: str, name: str, default: T) -> T:
        """The value that the files of parameters give to one of the robot's nodes."""
        files = [*self.files, *self._over]
        for path in files:
            check(path)
        values = parameter_files.values(files, f"/{ROBOT}/{node}")
        found: T = values.get(name, default)
        return found

    def lab(self) -> str:
        """The path of the file that the argument `robot` names, with what is one lab's."""
        name = self.argument("robot")
        path = self.path("robot") if name.endswith(".yaml") else self.config / f"{name}.yaml"
        if not path.is_file():
            raise RuntimeError(f"robot is '{name}', but there is no file {path}.")
        return str(path)

    def _further_file(self) -> list[str]:
        name = self.argument("config")
        if not name:
            return []
        path = self.path("config")
        if not path.is_file():
            raise RuntimeError(f"config is '{name}', but there is no file {path}.")
        return [str(path)]

    def _on_exit(self, event: ProcessExited, context: LaunchContext) -> list[Action]:
        if context.is_shutdown:
            return []
        reason = self._endings.reason(event.process_name, event.returncode)
        return [Shutdown(reason=reason)] if reason else []


@cache  # a launch file that includes another gives it the same files: one warning is enough
def check(path: str) -> None:
    """Read a file of parameters before any node does, and warn of what sets nothing."""
    for sentence in parameter_files.check(path, NODES):
        _LOG.warning(sentence)


def prepare(data_dir: Path) -> Path:
    """Make the data directory, and see now rather than after an hour whether it can be written."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        os.listdir(data_dir)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise RuntimeError(
            f"data_dir {data_dir} cannot be used ({error.strerror}): "
            "name one that can be read and written."
        ) from None
    return data_dir


@cache  # a launch file that includes another is one run
def enter_domain(data_dir: Path) -> Claim:
    """Have a ROS domain to itself; say so where it is not the usual one."""
    asked = os.environ.get(domains.VARIABLE)
    claim = domains.enter(os.environ, data_dir)
    domain = claim.holder.domain
    if str(domain) != (asked or "0"):
        _LOG.info(
            f"another run is in domain {asked or 0}, so this one is in domain {domain}: "
            f"export {domains.VARIABLE}={domain} in another terminal to see it"
        )
    return claim


@cache
def may_go_first() -> bool:
    """Whether this user may give a process real-time priority; docs/real-robot.md says how."""
    tried = subprocess.run(["chrt", "--rr", str(URGENT), "true"], check=False, capture_output=True)
    return tried.returncode == 0
