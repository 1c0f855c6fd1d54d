"""The driver's states, between joint commands and the servo bus.

`cycle()` runs at `bus_rate`: read all motors -> watchdogs and faults -> limiter -> write.

The states, as in DriverStatus:

    unconfigured -configure-> inactive -activate-> holding -reset-> resetting -> ready
        -first command-> driving -end of the episode-> holding
    any with torque -set_compliant-> compliant -> holding
    any -let_go-> inactive (deactivated), fault, stopped (emergency stop), unconfigured (port lost)

Torque goes off in one place, `_let_go`. Others decide when the arm may move again: a fault lasts
until `activate`, an emergency stop until it is released and `activate` follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import numpy as np

from ergojr_description.config import LimiterConfig
from ergojr_description.kinematics import Array
from ergojr_description.limiter import Limiter
from ergojr_driver.actuation import Actuation
from ergojr_driver.bus import Bus, BusError, MotorCommand, PortError
from ergojr_driver.config import DriverConfig
from ergojr_driver.motion import Motion, refused
from ergojr_driver.motors import FaultError, Motors
from ergojr_driver.servo import MOTORS, Calibration, Joints
from ergojr_driver.status import POWERED, DriverError, Status
from ergojr_driver.watching import BusWatch, EpisodeWatch
from planet_core.report import Level
from planet_core.robot import ResetResult


class Driver:
    """Drives one arm. It is not thread-safe.

    Args:
        open_bus: opens the port; raises PortError.
        on_joints: receives each complete reading and its stamp (ns).
        on_status: receives each change of the status; it must not call back.
        on_report: receives (part, level, sentence, values) about once a second.
        stop_wanted: tells whether an emergency stop was ordered, even during another call.
        doubtful: motors that may have had torque before.
        steady: the steady clock, in s.
        now: the clock of the stamps, in ns.
    """

    def __init__(
        self,
        config: DriverConfig,
        limits: LimiterConfig,
        open_bus: Callable[[], Bus],
        on_joints: Callable[[Joints, int], None],
        on_status: Callable[[Status], None],
        on_report: Callable[[str, Level, str, dict[str, object]], None],
        *,
        stop_wanted: Callable[[], bool] = lambda: False,
        doubtful: Sequence[int] = (),
        steady: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._open_bus = open_bus
        self._on_joints = on_joints
        self._on_status = on_status
        self._on_report = on_report
        self._stop_wanted = stop_wanted
        self._steady = steady
        self._now = now
        self._limiter = Limiter(limits, delay=1.0 / config.bus_rate)
        calibration = Calibration(config.direction, config.offset, config.effort_scale)
        most = limits.max_effort
        self._motors = Motors(
            config, most, calibration, self._go_on, doubtful, steady=steady, sleep=sleep
        )
        self._watch = BusWatch(config, self._motors, steady)
        self._episode = EpisodeWatch(config)
        self._motion = Motion(config, self._limiter, steady)
        self._actuation = Actuation(config, self._limiter, calibration, self._motors)
        self._ended = False
        self.stopped = False
        """Whether the emergency stop is latched."""
        self._base_cause = ""
        self.status = Status("unconfigured", bool(doubtful), "")
        self._joints: Joints | None = None
        self._written: Mapping[int, MotorCommand] = {}
        self._cycles = 0
        self._first_stamp = 0

    @property
    def armed(self) -> bool:
        """Whether a motor may have torque; see `Motors.armed`."""
        return self._motors.armed

    # Requests

    def configure(self) -> None:
        """Open the port, switch the torque off, and check and set up the six motors.

        Raises:
            DriverError: if a motor is missing or cannot be driven.
        """
        if self._ended:
            raise DriverError("the node is being stopped")
        if self._motors.bus is not None:
            return
        try:
            self._motors.open(self._open_bus)
        except (BusError, FaultError) as error:
            self._drop_bus()
            self._set("unconfigured", str(error))
            raise DriverError(str(error)) from error
        self._watch.begin()
        stopped, inactive = ("stopped", "emergency stop"), ("inactive", "not activated yet")
        self._set(*(stopped if self.stopped else inactive))

    def activate(self) -> None:
        """Check all motors again, then hold the present pose.

        Raises:
            DriverError: if the arm may not have torque.
        """
        if self._ended:
            raise DriverError("the node is being stopped")
        if self.stopped:
            raise DriverError("the emergency stop is latched: release it first")
        if self._motors.bus is None:
            raise DriverError(f"not configured: {self.status.cause}")
        if self.status.powered:
            return
        try:
            self._take_hold()
        except (FaultError, BusError) as error:
            self._let_go(str(error), "stopped" if self.stopped else "fault")
            raise DriverError(str(error)) from error

    def deactivate(self, cause: str = "deactivated") -> None:
        """Switch the torque off."""
        # A fault has switched the torque off already, and its cause must stay.
        if self.status.active:
            self._let_go(cause, "inactive")

    def unconfigure(self, cause: str = "not configured") -> None:
        """Switch the torque off and close the port."""
        if self._motors.bus is not None:  # the cause of a lost port must stay
            self._let_go(cause, "unconfigured")

    def fail(self, cause: str) -> None:
        """Switch the torque off because of `cause`, a fault outside of the driver."""
        if self.status.powered:
            self._let_go(cause, "fault")

    def close(self, cause: str = "the node was stopped") -> None:
        """Switch the torque off and close the port, for good."""
        self._ended = True
        self.unconfigure(cause)

    def command(self, efforts: Array, stamp: int, arrival: float) -> None:
        """Take efforts [4] N m for the observation of `stamp` (ns), which came at `arrival` (s)."""
        if self.status.state not in ("ready", "driving"):
            return
        if efforts.shape != (4,) or not np.isfinite(efforts).all():
            self._let_go(f"joint_command is {efforts.tolist()}, expected 4 finite numbers", "fault")
            return
        first = self.status.state == "ready"
        clock = self._now()
        if self._episode.take(efforts, stamp, arrival, self._first_stamp, clock, first=first):
            self._set("driving", "")

    def refuse_command(self, cause: str) -> None:
        """Take note of a joint command that cannot be used because of `cause`."""
        if self.status.state in ("ready", "driving"):
            self._let_go(cause, "fault")

    def end_episode(self, stamp: int) -> None:
        """Hold the arm, because the reward with this stamp (ns) says that the episode is over."""
        if self.status.state == "driving" and stamp >= self._first_stamp:
            self._hold()

    def reset(self, seed: int) -> Future[ResetResult]:
        """Move the arm to the rest pose with noise; the result comes when the arm is there."""
        if not self.status.powered or self._joints is None:
            return refused(f"the arm has no torque: {self.status.cause or self.status.state}")
        if self.status.state == "driving":
            self._motion.stay(self._joints.position)
        future = self._motion.reset(seed)
        if not future.done():
            self._set("resetting", "")
        return future

    def emergency_stop(self, on: bool) -> None:
        """Latch the torque off, or release the latch."""
        self.stopped = on
        if on:
            self._let_go("emergency stop", "stopped")
        elif self.status.state == "stopped":
            self._set("inactive", "emergency stop released: activate to go on")

    def set_compliant(self, on: bool) -> str:
        """Make the arm compliant, or let it hold its pose again; returns a sentence on it.

        Raises:
            DriverError: if the arm cannot hold its pose.
        """
        if on:
            if self.status.powered:
                self._let_go("compliant, as asked", "compliant")
            return "the arm can be moved by hand"
        if self.status.state != "compliant":
            raise DriverError(f"the driver is {self.status.state}, not compliant")
        self.activate()
        return "the arm holds its pose"

    # The cycle

    def cycle(self) -> None:
        """Read the motors, check the watchdogs, limit the effort, and write commands."""
        if self._motors.bus is None:
            return
        self._cycles += 1
        try:
            self._cycle(self._motors.bus)
        except PortError as error:
            self._let_go(str(error), "unconfigured")
        except (FaultError, BusError) as error:  # a BusError: the guard has taken the arm
            self._let_go(str(error), "fault")
        except BaseException as error:
            self._let_go(f"the driver failed: {error}", "fault")
            raise
        if self._cycles % round(self._config.bus_rate) == 0:
            self._report()

    def _cycle(self, bus: Bus) -> None:
        motors = self._watch.read(bus)
        stamp, now = self._now(), self._steady()
        if not self.status.powered and self._motors.off_again(motors):
            self._set(self.status.state, self._base_cause)
        self._watch.health_round(bus, self.status.powered)
        if self.status.powered:
            self._watch.answers(bus, motors, self._written, now)
        if len(motors) < len(MOTORS):
            self._follow(now)
            return  # the motors keep their last command until a watchdog fires
        self._watch.is_complete(now)
        self._joints = joints = self._motors.joints(motors, now)
        self._follow(now)
        if self.status.powered:
            self._written = self._decide(joints, now)
            bus.write_command(self._written)
        self._on_joints(joints, stamp)

    def _follow(self, now: float) -> None:
        if self.status.state == "driving" and self._episode.is_over(now):
            self._hold()

    def _decide(self, joints: Joints, now: float) -> dict[int, MotorCommand]:
        """Return the motors' commands for the next cycle."""
        if self.status.state == "resetting":
            self._settle(joints, now)
        if self.status.state == "driving":
            return self._actuation.push(self._episode.command, joints, self._motion.goal)
        self._motion.advance(now)
        at_rest = self.status.state != "resetting"
        return self._actuation.hold(self._motion.goal, joints.load, at_rest=at_rest)

    def _settle(self, joints: Joints, now: float) -> None:
        trouble = self._motion.arrived(joints, now)
        if trouble is None:
            return
        if trouble:
            self._motion.give_up(trouble)
            self._hold()
            return
        # This reading was taken before the state changed, so the next one is the episode's first.
        self._first_stamp = self._now()
        self._set("ready", "")
        self._motion.answer(ResetResult(True, "", self._first_stamp))

    # Torque

    def _let_go(self, cause: str, state: str) -> None:
        """Switch the torque off, then publish why: every way to no torque leads here."""
        found = self._now()
        try:
            self._motors.off()
        except PortError as error:
            state = "unconfigured"
            cause = cause if str(error) in cause else f"{cause}; {error}"
        self._motors.armed = False
        if state == "unconfigured" or self._motors.bus is None:
            self._drop_bus()
            state = "unconfigured"
        self._written = {}
        self._set(state, cause, found)
        self._motion.give_up(self.status.cause)

    def _take_hold(self) -> None:
        """Switch the torque on in the present pose; raises FaultError or BusError."""
        self._joints = self._motors.check()
        self._motion.stay(self._joints.position)
        self._written = self._actuation.go(self._motion.goal, self._actuation.most())
        self._motors.on(self._written)
        self._watch.begin()
        self._hold()

    def _go_on(self) -> None:
        """Raise FaultError if the activation that is under way is not wanted any more."""
        if self._ended:
            raise FaultError("the node is being stopped")
        if self.stopped or self._stop_wanted():
            self.stopped = True
            raise FaultError("emergency stop")

    def _hold(self) -> None:
        assert self._joints is not None, "there is torque only after a reading"
        self._motion.stay_but_held(self._joints.position)
        self._set("holding", "")

    # Status and reports

    def _drop_bus(self) -> None:
        if self._motors.bus is not None:
            self._motors.close()
            for part in ("bus", "motors"):
                level: Level = "ok" if self._ended else "warn"
                self._on_report(part, level, "not known: the port is closed", {})
        self._joints = None

    def _set(self, state: str, cause: str, found: int | None = None) -> None:
        """Publish a state and its cause, with the motors that may still have torque."""
        self._base_cause = cause
        torque = state in POWERED or bool(self._motors.doubtful)
        stamp = self._now() if found is None else found
        status = Status(state, torque, cause + self._motors.doubt, stamp)
        if status != self.status:
            self.status = status
            self._on_status(status)

    def _report(self) -> None:
        level, sentence, values = self._watch.report()
        self._on_report("bus", level, sentence, values | self._episode.report())
        if len(self._motors.health) == len(MOTORS):
            self._on_report("motors", *self._watch.report_motors())
