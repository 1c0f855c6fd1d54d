"""The driver without ROS: from commands to the servos' bus, and the many ways to let go.

`cycle()` runs at `bus_rate` in a thread of its own: one read of all motors -> watchdogs and faults
-> limiter -> one write. Every other method may be called from any thread. All of them share one
lock, which is held for a bus cycle at the longest, so an emergency stop waits for milliseconds.

States (as in DriverStatus)

    unconfigured -configure-> inactive -activate-> holding -reset-> resetting -> ready
        -first command-> driving -end of the episode-> holding
    any with torque -set_compliant-> compliant -> holding
    any -let_go-> inactive (deactivated), fault, stopped (emergency stop), unconfigured (port lost)

Torque goes off in one place, `_let_go`. Whoever may move the arm again is decided outside: a fault
stays until `activate`, an emergency stop until it is released and then `activate`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import pi
from typing import Any, ParamSpec, TypeVar

import numpy as np
from ergojr_description.kinematics import ACTIVE_NAMES, JOINT_HIGH, JOINT_LOW, JOINT_NAMES, Array
from ergojr_description.limiter import Limiter, LimiterConfig

from ergojr_description import xl320
from ergojr_driver.bus import Bus, BusError, MotorCommand, MotorHealth, MotorState, PortError
from ergojr_driver.servo import ACTIVE, HELD, MOTORS, Calibration, Joints

OK, WARN, ERROR = "ok", "warn", "error"

POWERED = ("resetting", "ready", "driving", "holding")
_RETRIES = 2  # more reads in a cycle, of the motors that have not answered
_HEALTH_EVERY = 4  # cycles between reads of one motor's temperature
_RATE_CYCLES = 50  # over which max_error_rate is judged, and
_RATE_LEAST = 20  # before that many it is not
_WARN_CYCLES = 1000  # over which a diagnostic looks at lost answers
_WARN_RATE = 0.002
_ATTEMPTS = 5  # at an exchange outside of the cycle
_OFF_SECONDS = 0.08  # for the motors to confirm that their torque is off
_REBOOT_SECONDS = 0.5
_STOP_SECONDS = 0.02  # that a stop waits for an activation that waits for motors
_SETTLE_SECONDS = 1.5  # after a reset's trajectory
_SETTLE_ERROR = 0.15  # rad; gravity and friction bend the position controller
_SETTLE_SPEED = 0.3  # rad/s
_SHORTEST_RESET = 0.8  # s
_LEAST_PAUSE = 0.0005  # s between cycles
_AHEAD = 0.05  # s that a stamp may lie in the future: another clock, or one that was set back
_DRAWS = 100  # of a start pose until one is inside of the limits

Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


class DriverError(Exception):
    """Something asked for cannot be done; one sentence."""


class CommandError(ValueError):
    """A joint command that is none; one sentence."""


class _FaultError(Exception):
    """The torque must go off; one sentence."""


def _value(doc: str, default: Any, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high})


@dataclass(frozen=True)
class DriverConfig:
    """One arm: where it is plugged in, how it is built, when its driver lets go.

    Raises:
        ValueError: where a list has not six values, or values that cannot be.
    """

    port: str = _value("Serial port, e.g. /dev/serial/by-id/...", "/dev/ttyACM0")
    baud_rate: int = _value("Of the bus.", 1_000_000, 9600, 1_000_000)
    direction: tuple[float, ...] = _value(
        "Of m1 to m6: 1.0, or -1.0 where a positive joint angle turns the motor back.", (1.0,) * 6
    )
    offset: tuple[float, ...] = _value(
        "What the motors m1 to m6 read at the zero pose, in rad.", (0.0,) * 6
    )
    effort_scale: tuple[float, ...] = _value(
        "Of m1 to m6: measured torque over that which the register promises.", (1.0,) * 6
    )
    rest_pose: tuple[float, ...] = _value(
        "Joint angles that an episode starts from, in rad; m4 and m6 stay there.", (0.0,) * 6
    )
    reset_noise: float = _value(
        "Half the width of the uniform noise on the rest pose of m1 m2 m3 m5, in rad.",
        18.0 * pi / 180.0,
        0.0,
        0.5,
    )
    reset_speed: float = _value("Greatest joint speed of a reset, in rad/s.", 0.8, 0.05, 1.5)
    cameras: tuple[str, ...] = _value(
        "Cameras of this robot, as in robot_spec.", ("camera_front", "camera_side")
    )
    control_period: float = _value("One tick of the control loop, in s.", 0.05, 0.02, 1.0)
    max_steps: int = _value("Length of an episode, in ticks.", 100, 1)
    max_observation_age: float = _value(
        "Age of the oldest image that the newest command knows of, from which on the torque goes "
        "off during an episode, in s.",
        0.14,
        0.05,
        5.0,
    )
    command_watchdog: float = _value(
        "Control periods without a command during an episode until the torque goes off.",
        2.5,
        1.0,
        10.0,
    )
    bus_rate: float = _value("Bus cycles per second.", 100.0, 50.0, 250.0)
    reply_timeout: float = _value("Time for the motors to answer a read, in s.", 0.012, 0.002, 0.1)
    read_watchdog: float = _value(
        "Time without a reading of all motors until the torque goes off, in s.", 0.1, 0.03, 0.15
    )
    max_error_rate: float = _value(
        "Share of lost or corrupt answers over half a second that makes it let go.", 0.25, 0.05, 0.5
    )
    derate_temperature: float = _value(
        "From here to max_temperature the effort falls to nothing, in °C.", 50.0, 30.0, 60.0
    )
    max_temperature: float = _value("Torque off, in °C.", 60.0, 35.0, 65.0)
    min_voltage: float = _value("No torque below this supply voltage, in V.", 6.0, 5.0, 8.0)

    def __post_init__(self) -> None:
        Calibration(self.direction, self.offset, self.effort_scale)
        if len(self.rest_pose) != len(self.direction):
            raise ValueError(f"rest_pose is {list(self.rest_pose)}, expected six angles in rad")
        if self.derate_temperature >= self.max_temperature:
            raise ValueError("derate_temperature must be below max_temperature")


@dataclass(frozen=True)
class Status:
    """What DriverStatus says; `stamp` (ns) is when its cause was found."""

    state: str
    torque: bool
    cause: str
    stamp: int = field(default=0, compare=False)

    @property
    def active(self) -> bool:
        """Whether the driver may move the arm, or would if the arm were not compliant."""
        return self.torque or self.state == "compliant"


@dataclass(frozen=True)
class ResetResult:
    """The answer to a reset: first_stamp is that of the first reading in the pose, in ns."""

    ok: bool
    message: str
    first_stamp: int = 0


def command_values(names: Sequence[str], values: Sequence[float]) -> Array:
    """[4] N m for m1 m2 m3 m5, from names and values in any order.

    Raises:
        CommandError: unless exactly the four names come, with one finite value each.
    """
    if sorted(names) != sorted(ACTIVE_NAMES):
        given = ", ".join(names) or "nothing"
        raise CommandError(f"joint_command names {given}, expected {', '.join(ACTIVE_NAMES)}")
    if len(values) != len(names):
        raise CommandError(f"joint_command has {len(values)} efforts for {len(names)} joints")
    by_name = dict(zip(names, values, strict=True))
    command = np.array([by_name[name] for name in ACTIVE_NAMES], np.float64)
    for name, value in zip(ACTIVE_NAMES, command.tolist(), strict=True):
        if not np.isfinite(value):
            raise CommandError(f"joint_command for {name} is {value}, expected a finite number")
    return command


class Driver:
    """Drives one arm.

    Args:
        open_bus: opens the port; raises PortError.
        on_joints: gets each complete reading and its stamp (ns), in the bus thread.
        on_status: gets each change, in the thread that makes it; it must not call back.
        on_report: gets (part, level, sentence, values) about once a second.
        steady: s of a clock that never jumps.
        now: ns of the clock that stamps are of.
    """

    def __init__(
        self,
        config: DriverConfig,
        limits: LimiterConfig,
        open_bus: Callable[[], Bus],
        on_joints: Callable[[Joints, int], None],
        on_status: Callable[[Status], None],
        on_report: Callable[[str, str, str, dict[str, object]], None],
        *,
        steady: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._open_bus = open_bus
        self._on_joints = on_joints
        self._on_status = on_status
        self._on_report = on_report
        self._steady = steady
        self._now = now
        self._sleep = sleep
        self._period = 1.0 / config.bus_rate
        self._limiter = Limiter(limits, delay=1.0 / config.bus_rate)
        self._calibration = Calibration(config.direction, config.offset, config.effort_scale)
        self._rest = np.array(config.rest_pose)
        self._lock = threading.RLock()
        self._ended = threading.Event()

        self._bus: Bus | None = None
        self.status = Status("unconfigured", False, "")
        self.armed = False
        """Whether a motor may have torque: from before the first gets it until all were told."""
        self._stopped = False  # the emergency stop is latched
        self._health: dict[int, MotorHealth] = {}
        self._firmware: dict[int, int] = {}
        self._joints: Joints | None = None
        self._complete = 0.0  # when all motors answered last, s
        self._corrupt = 0  # answers since then
        self._written: Mapping[int, MotorCommand] = {}
        self._deaf: list[int] = []  # motors that have not confirmed that their torque is off
        self._cycles = 0
        self._lost: deque[int] = deque(maxlen=_WARN_CYCLES)  # answers lost in each cycle
        self._lost_writes = 0
        self._durations: deque[float] = deque(maxlen=_WARN_CYCLES)
        self._ages: deque[float] = deque(maxlen=_WARN_CYCLES)
        self._overruns = 0
        self._ignored = 0

        self._goal: Array = self._rest
        self._trajectory: tuple[float, float, Array, Array] | None = None
        self._pending: Future[ResetResult] | None = None
        self._first_stamp = 0
        self._command: Array = np.zeros(4)
        self._command_time = 0.0
        self._seen_stamp = 0  # of the oldest image that a command knows of, in ns
        self._seen_time = 0.0  # and the same on the steady clock
        self._episode_start = 0.0

    # What others ask for

    def configure(self) -> None:
        """Open the port, and check and set up the six motors, which let go.

        Raises:
            DriverError: a motor is missing, or is none that can be driven.
        """
        with self._lock:
            self._refuse_when_ended()
            if self._bus is not None:
                return
            try:
                self._bus = self._open_bus()
                self._bus.torque_off(MOTORS)
                for motor in MOTORS:
                    self._set_up(motor)
                self._deaf = self._torque_off(self._bus)
            except BusError as error:
                self._drop_bus()
                self._set("unconfigured", False, str(error))
                raise DriverError(str(error)) from error
            self._complete = self._steady()
            state, cause = "inactive", "not activated yet"
            if self._stopped:
                state, cause = "stopped", "emergency stop"
            self._set(state, False, cause + self._deaf_ones())

    def activate(self) -> None:
        """Check everything anew, then hold the present pose.

        Raises:
            DriverError: what stands against it.
        """
        with self._lock:
            self._refuse_when_ended()
            if self._stopped:
                raise DriverError("the emergency stop is latched: release it first")
            if self._bus is None:
                raise DriverError(f"not configured: {self.status.cause}")
            if self.status.torque:
                return
            try:
                self._take_hold(self._bus)
            except (_FaultError, BusError) as error:
                self._let_go(str(error), "fault")
                raise DriverError(str(error)) from error

    def deactivate(self, cause: str = "deactivated") -> None:
        """Let go."""
        with self._lock:
            # A fault has let go already, and its cause is to stay.
            if self.status.active:
                self._let_go(cause, "inactive")

    def unconfigure(self, cause: str = "not configured") -> None:
        """Let go and close the port."""
        with self._lock:
            if self._bus is not None:  # a port that was lost is to keep its cause
                self._let_go(cause, "unconfigured")

    def close(self) -> None:
        """End `run`, let go and close the port."""
        self._ended.set()
        self.unconfigure("the node was stopped")

    def command(self, names: Sequence[str], efforts: Sequence[float], stamp: int) -> None:
        """A joint command that answers the observation of time `stamp` (ns)."""
        arrival = self._steady()
        with self._lock:
            if self.status.state not in ("ready", "driving"):
                return
            try:
                command = command_values(names, efforts)
            except CommandError as error:
                self._let_go(str(error), "fault")
                return
            age = (self._now() - stamp) * 1e-9
            fresh = -_AHEAD <= age <= self._config.max_observation_age
            if stamp < self._first_stamp or not fresh:
                self._ignored += 1  # the watchdogs do the rest
                return
            self._command = command
            self._command_time = arrival
            # An image does not get younger by being named again, whatever the clock is set to.
            if self.status.state == "ready" or stamp > self._seen_stamp:
                self._seen_stamp, self._seen_time = stamp, arrival - max(0.0, age)
            if self.status.state == "ready":
                self._episode_start = arrival
                self._set("driving", True, "")

    def end_episode(self, stamp: int) -> None:
        """A reward of time `stamp` (ns) says that the episode is over."""
        with self._lock:
            if self.status.state == "driving" and stamp >= self._first_stamp:
                self._hold()

    def reset(self, seed: int) -> Future[ResetResult]:
        """Move to the rest pose with noise; the result comes when the arm is there."""
        future: Future[ResetResult] = Future()
        with self._lock:
            if self.status.state not in POWERED or self._joints is None:
                why = self.status.cause or self.status.state
                future.set_result(ResetResult(False, f"the arm has no torque: {why}"))
                return future
            self._give_up_reset("another reset came")
            target, trouble = self._draw_start(seed)
            if trouble:
                future.set_result(ResetResult(False, f"no start pose is clear: {trouble}"))
                return future
            if self.status.state == "driving":
                self._goal = self._reachable(self._joints.position)
            # A minimum-jerk motion is at most 15/8 as fast as its mean.
            way = float(np.abs(target - self._goal).max())
            seconds = max(way * 1.875 / self._config.reset_speed, _SHORTEST_RESET)
            self._trajectory = (self._steady(), seconds, self._goal, target)
            self._pending = future
            self._set("resetting", True, "")
        return future

    def emergency_stop(self, on: bool) -> str:
        """Latch the torque off, or release the latch; returns a sentence."""
        if on:
            self._stopped = True  # an activation that holds the lock looks at it: `_go_on`
        with self._lock:
            self._stopped = on
            if on:
                self._let_go("emergency stop", "stopped")
                return "torque is off until it is released and the driver activated"
            if self.status.state == "stopped":
                self._set("inactive", False, "emergency stop released: activate to go on")
            return "released"

    def set_compliant(self, on: bool) -> str:
        """Let the arm be moved by hand, or hold it again; returns a sentence.

        Raises:
            DriverError: it cannot hold.
        """
        with self._lock:
            if on:
                if self.status.torque:
                    self._let_go("compliant, as asked", "compliant")
                return "the arm can be moved by hand"
            if self.status.state != "compliant":
                raise DriverError(f"the driver is {self.status.state}, not compliant")
            self.activate()
            return "the arm holds its pose"

    # The bus thread

    def run(self) -> None:
        """Cycle on an absolute schedule until `close`; a missed cycle is not made up for."""
        due = self._steady()
        while not self._ended.is_set():
            started = self._steady()
            try:
                self.cycle()
            except BaseException as error:
                with self._lock:
                    self._let_go(f"the driver failed: {error}", "fault")
                raise
            took = self._steady() - started
            self._durations.append(took)
            self._overruns += took > self._period
            due = max(due + self._period, self._steady())
            # Never no pause at all: an emergency stop waits for the lock, which is not fair.
            self._sleep(max(_LEAST_PAUSE, due - self._steady()))

    def cycle(self) -> None:
        """Read, watch, limit, write."""
        with self._lock:
            if self._bus is None:
                return
            self._cycles += 1
            try:
                self._cycle(self._bus)
            except _FaultError as fault:
                self._let_go(str(fault), "fault")
            except PortError as error:
                self._let_go(str(error), "unconfigured")
            if self._cycles % round(self._config.bus_rate) == 0:
                self._report()

    def _cycle(self, bus: Bus) -> None:
        motors = self._read(bus)
        stamp, now = self._now(), self._steady()
        if self._deaf and not self.status.torque:
            self._tell_again(bus, motors)
        if self._cycles % _HEALTH_EVERY == 0:
            self._look_at(bus, MOTORS[self._cycles // _HEALTH_EVERY % len(MOTORS)])
        if self.status.torque:
            self._watch(bus, motors, now)
        if len(motors) < len(MOTORS):
            self._follow(now)
            return  # the motors keep their last command, until a watchdog bites
        self._complete = now
        self._corrupt = 0
        self._joints = joints = self._calibration.joints(motors)
        self._follow(now)
        if self.status.torque:
            self._written = self._decide(joints, now)
            bus.write_command(self._written)
        self._on_joints(joints, stamp)

    def _read(self, bus: Bus) -> dict[int, MotorState]:
        reading = bus.read_state(MOTORS)
        motors = dict(reading.motors)
        self._corrupt += reading.corrupt
        self._lost.append(len(MOTORS) - len(motors))
        for _ in range(_RETRIES):
            missing = [motor for motor in MOTORS if motor not in motors]
            if not missing:
                break
            motors.update(bus.read_state(missing).motors)
        return motors

    def _watch(self, bus: Bus, motors: Mapping[int, MotorState], now: float) -> None:
        """Raise what the motors' answers, and those that did not come, say."""
        for motor, state in motors.items():
            wanted = self._written.get(motor)
            zeroed = (
                wanted is not None
                and state.torque_limit == 0
                and xl320.torque_to_raw(wanted.torque) > 0
            )
            # A torque limit of 0 is a shutdown or a write that was lost. To write it again before
            # that is known would arm a motor that has tripped.
            if state.alert or zeroed:
                if not any(self._look_at(bus, motor) for _ in range(_ATTEMPTS)):
                    raise _FaultError(f"{_names([motor])} may have shut down, and does not say why")
                self._lost_writes += zeroed
        silent = [motor for motor in MOTORS if motor not in motors]
        waited = now - self._complete
        recent = list(self._lost)[-_RATE_CYCLES:]
        rate = sum(recent) / (len(recent) * len(MOTORS))
        if silent and waited > self._config.read_watchdog:
            who = "no motor answers" if len(silent) == len(MOTORS) else f"{_names(silent)} silent"
            who += f", {self._corrupt} answers corrupt" if self._corrupt else ""
            raise _FaultError(f"{who}: no complete reading for {1e3 * waited:.0f} ms")
        if len(recent) >= _RATE_LEAST and rate > self._config.max_error_rate:
            raise _FaultError(f"bus errors: {100 * rate:.0f} % of the motors' answers are lost")

    def _look_at(self, bus: Bus, motor: int) -> bool:
        """Read one motor's health; False where its answer is lost."""
        try:
            health = bus.read_health(motor)
        except PortError:
            raise
        except BusError:
            return False
        self._health[motor] = health
        if self.status.torque and (trouble := self._trouble(motor, health)):
            raise _FaultError(trouble)
        return True

    def _trouble(self, motor: int, health: MotorHealth) -> str:
        name, config = _names([motor]), self._config
        if health.hardware_error:
            return f"{name} reports {xl320.hardware_error_text(health.hardware_error)}"
        if health.temperature >= config.max_temperature:
            return f"{name} is at {health.temperature:.0f} °C, the most is {config.max_temperature}"
        if health.voltage < config.min_voltage:
            return f"{name} has {health.voltage:.1f} V, the least is {config.min_voltage}"
        return ""

    def _follow(self, now: float) -> None:
        """See to it that an episode has commands of one who sees the arm, and an end."""
        if self.status.state != "driving":
            return
        config = self._config
        waited, age = now - self._command_time, now - self._seen_time
        if now - self._episode_start >= config.max_steps * config.control_period:
            self._hold()
        elif waited > config.command_watchdog * config.control_period:
            raise _FaultError(f"no joint_command for {1e3 * waited:.0f} ms")
        elif age > config.max_observation_age:
            raise _FaultError(
                f"the newest joint_command answers an image of {1e3 * age:.0f} ms ago: a "
                "camera or the roller is late"
            )
        else:
            self._ages.append(age)

    def _decide(self, joints: Joints, now: float) -> dict[int, MotorCommand]:
        """What the motors are to do in the next cycle; the limiter has the last word."""
        if self.status.state == "resetting":
            self._settle(joints, now)

        most = self._limiter.config.max_effort * self._derating()
        if self.status.state != "driving":
            self._limiter.remember(joints.load[ACTIVE], self._period)
            if self.status.state != "resetting":  # to stand still takes less than to move
                most[ACTIVE] = np.minimum(most[ACTIVE], self._limiter.effort_cap())
            self._advance(now)
            return self._position(most)
        held = self._position(most)
        wanted = np.clip(self._command, -most[ACTIVE], most[ACTIVE])
        # The limiter may brake a hot motor with all it has: to stop it matters more than its heat.
        limited = self._limiter.limit_effort(wanted, joints.position, joints.velocity, self._period)
        if limited.fault:
            raise _FaultError(f"limiter: {limited.fault}")
        effort = np.zeros(6)
        effort[ACTIVE] = limited.command
        driven = self._calibration.drive(effort, joints.position, self._limiter.config.max_speed)
        return {MOTORS[i]: (held if i in HELD else driven)[MOTORS[i]] for i in range(len(MOTORS))}

    def _position(self, most: Array) -> dict[int, MotorCommand]:
        # For an arm that was held back; twice, for it must not slow a reset down.
        speed = min(2.0 * self._config.reset_speed, self._limiter.config.max_speed)
        return self._calibration.go(self._goal, most, speed)

    def _advance(self, now: float) -> None:
        """Move the position goal by one cycle: along the trajectory, and inside of the limits."""
        wanted = self._goal
        if self._trajectory is not None:
            start, seconds, origin, target = self._trajectory
            t = min((now + self._period - start) / seconds, 1.0)
            wanted = origin + (target - origin) * t**3 * (10.0 - 15.0 * t + 6.0 * t * t)
        most = self._config.reset_speed
        speed = np.clip((wanted - self._goal) / self._period, -most, most)
        limited = self._limiter.limit_velocity(speed[ACTIVE], self._goal, self._period)
        if limited.fault:
            raise _FaultError(f"limiter: {limited.fault}")
        speed[ACTIVE] = limited.command
        self._goal = self._goal + speed * self._period

    def _draw_start(self, seed: int) -> tuple[Array, str]:
        """A start pose inside of the limits, or the last one drawn and why it is not."""
        random = np.random.default_rng(seed if seed >= 0 else None)
        span = self._config.reset_noise
        for _ in range(_DRAWS):
            pose = self._rest.copy()
            pose[ACTIVE] += random.uniform(-span, span, len(ACTIVE))
            trouble = self._limiter.clear(pose)
            if not trouble:
                break
        return pose, trouble

    def _settle(self, joints: Joints, now: float) -> None:
        assert self._trajectory is not None
        start, seconds, _, target = self._trajectory
        late = now - start - seconds
        if late < 0.0:
            return
        error = np.abs(joints.position - target)
        worst = int(error.argmax())
        if error[worst] < _SETTLE_ERROR and np.abs(joints.velocity).max() < _SETTLE_SPEED:
            self._trajectory = None
            # This reading was taken before the state changed: the next one is the first.
            self._first_stamp = self._now()
            self._set("ready", True, "")
            self._answer_reset(ResetResult(True, "", self._first_stamp))
        elif late > _SETTLE_SECONDS:
            name = JOINT_NAMES[worst]
            self._give_up_reset(
                f"the arm did not get to its start: {name} is {error[worst]:.2f} rad away"
            )
            self._hold()

    # Torque

    def _let_go(self, cause: str, state: str) -> None:
        """The one way to no torque, from wherever: torque off, then whatever is left to say."""
        bus, found = self._bus, self._now()
        if bus is not None:
            try:
                self._deaf = self._torque_off(bus)
            except PortError as error:
                state = "unconfigured"
                cause = cause if str(error) in cause else f"{cause}; {error}"
                cause += "; the motors may still have torque"
            else:
                cause += self._deaf_ones()
        self.armed = False
        if state == "unconfigured" or bus is None:
            self._drop_bus()
            state = "unconfigured"
        self._written = {}
        self._trajectory = None
        self._set(state, False, cause, found)
        self._give_up_reset(cause)

    def _torque_off(self, bus: Bus) -> list[int]:
        """Say it several times, then until each motor confirms it; returns those that do not."""
        deadline = self._steady() + _OFF_SECONDS
        left = list(MOTORS)
        for _ in range(2):
            bus.torque_off(MOTORS)
        while left and self._steady() < deadline:
            bus.torque_off(MOTORS)
            for motor in list(left):
                if self._steady() >= deadline:
                    break
                try:
                    if not bus.read(motor, xl320.TORQUE_ENABLE):
                        left.remove(motor)
                except PortError:
                    raise
                except BusError:
                    continue
        bus.torque_off(MOTORS)
        return left

    def _deaf_ones(self) -> str:
        """More words for a cause."""
        if not self._deaf:
            return ""
        return f"; {_names(self._deaf)} did not confirm that the torque is off"

    def _tell_again(self, bus: Bus, motors: Mapping[int, MotorState]) -> None:
        """Torque off for motors that were deaf to it and are heard of now."""
        bus.torque_off(MOTORS)
        for motor in [motor for motor in self._deaf if motor in motors]:
            try:
                if not bus.read(motor, xl320.TORQUE_ENABLE):
                    self._deaf.remove(motor)
            except PortError:
                raise
            except BusError:
                continue

    def _take_hold(self, bus: Bus) -> None:
        """Torque on in the present pose. Raises _FaultError or BusError."""
        self._deaf = []
        health = {motor: _persist(bus.read_health, motor) for motor in MOTORS}
        tripped = [motor for motor in MOTORS if health[motor].hardware_error]
        if tripped:  # the operator has agreed to go on; only a reboot clears it
            for motor in tripped:
                bus.reboot(motor)
            awake = self._steady() + _REBOOT_SECONDS
            while self._steady() < awake:
                self._go_on()
                self._sleep(_STOP_SECONDS)
            for motor in tripped:
                health[motor] = _persist(bus.read_health, motor)
        self._health = health
        for motor in MOTORS:
            if trouble := self._trouble(motor, health[motor]):
                raise _FaultError(trouble)
        motors: dict[int, MotorState] = {}
        for _ in range(_ATTEMPTS):
            motors.update(bus.read_state(MOTORS).motors)
        if silent := [motor for motor in MOTORS if motor not in motors]:
            raise _FaultError(f"{_names(silent)} did not answer")
        self._joints = self._calibration.joints(motors)
        self._goal = self._reachable(self._joints.position)
        most = self._limiter.config.max_effort * self._derating()
        self._written = self._position(most)
        for _ in range(2):
            bus.write_command(self._written)
        for motor in MOTORS:
            self._go_on()
            self.armed = True
            self._switch_on(bus, motor)
        self._complete = self._steady()
        self._lost.clear()
        self._hold()

    def _go_on(self) -> None:
        """Raise _FaultError where an activation that is under way is not wanted any more."""
        if self._ended.is_set():
            raise _FaultError("the node is being stopped")
        if self._stopped:
            raise _FaultError("emergency stop")

    def _switch_on(self, bus: Bus, motor: int) -> None:
        for _ in range(_ATTEMPTS):
            bus.set_torque([motor], True)
            if _persist(bus.read, motor, xl320.TORQUE_ENABLE):
                return
        raise _FaultError(f"{_names([motor])} does not switch its torque on")

    def _hold(self) -> None:
        assert self._joints is not None
        goal = self._reachable(self._joints.position)
        goal[HELD] = self._goal[HELD]
        self._goal = goal
        self._trajectory = None
        self._set("holding", True, "")

    # Small matters

    def _refuse_when_ended(self) -> None:
        if self._ended.is_set():
            raise DriverError("the node is being stopped")

    def _set_up(self, motor: int) -> None:
        bus, name = self._bus, f"{_names([motor])} (id {motor})"
        assert bus is not None
        for _ in range(_ATTEMPTS):
            if (model := bus.ping(motor)) is not None:
                break
        if model is None:
            raise BusError(f"{name} does not answer on {self._config.port}")
        if model != xl320.MODEL:
            raise BusError(f"{name} is of model {model}, expected {xl320.MODEL} (XL-320)")
        self._firmware[motor] = _persist(bus.read, motor, xl320.FIRMWARE)
        low, high = self._calibration.limits[motor - 1]
        scale = float(self._calibration.scale[motor - 1])
        wanted = {
            xl320.CONTROL_MODE: xl320.JOINT_MODE,
            xl320.STATUS_LEVEL: 2,
            xl320.RETURN_DELAY: 50,  # 100 us: six answers take 2 ms less than as delivered
            xl320.ANGLE_LOW: low,
            xl320.ANGLE_HIGH: high,
            # Also the torque limit after a power cycle.
            xl320.MAX_TORQUE: xl320.torque_to_raw(self._limiter.config.max_effort / scale),
            xl320.SHUTDOWN: xl320.OVERLOAD | xl320.OVERHEATING,
        }
        for register, value in wanted.items():
            found = _persist(bus.read, motor, register)
            if found != value:  # the EEPROM wears out
                _persist(bus.write, motor, register, value)
        self._health[motor] = _persist(bus.read_health, motor)

    def _drop_bus(self) -> None:
        if self._bus is not None:
            self._bus.close()
            level = OK if self._ended.is_set() else WARN
            for part in ("bus", "motors"):
                self._on_report(part, level, "not known: the port is closed", {})
        self._bus = None
        self._deaf = []
        self._joints = None

    def _reachable(self, position: Array) -> Array:
        margin = self._limiter.config.range_margin
        return np.clip(position, JOINT_LOW + margin, JOINT_HIGH - margin)

    def _derating(self) -> Array:
        """[6] 1 for a cool motor, 0 for one at max_temperature."""
        config = self._config
        heat = np.array([self._health[motor].temperature for motor in MOTORS])
        span = config.max_temperature - config.derate_temperature
        return np.clip((config.max_temperature - heat) / span, 0.0, 1.0)

    def _answer_reset(self, result: ResetResult) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.set_result(result)

    def _give_up_reset(self, message: str) -> None:
        self._answer_reset(ResetResult(False, message))

    def _set(self, state: str, torque: bool, cause: str, found: int | None = None) -> None:
        status = Status(state, torque, cause, self._now() if found is None else found)
        if status != self.status:
            self.status = status
            self._on_status(status)

    def _report(self) -> None:
        # Of the whole span, even before it is over: one hiccup at the start is no warning.
        rate = sum(self._lost) / (_WARN_CYCLES * len(MOTORS))
        durations = sorted(self._durations) or [0.0]
        ages = sorted(self._ages) or [0.0]
        waited = self._steady() - self._complete
        values: dict[str, object] = {
            "answers_lost_percent": f"{100 * rate:.2f}",
            "writes_lost": self._lost_writes,
            "cycle_median_ms": f"{1e3 * durations[len(durations) // 2]:.2f}",
            "cycle_p99_ms": f"{1e3 * durations[int(0.99 * (len(durations) - 1))]:.2f}",
            "overruns": self._overruns,
            "stale_commands": self._ignored,
            "image_age_p99_ms": f"{1e3 * ages[int(0.99 * (len(ages) - 1))]:.0f}",
            "image_age_most_ms": f"{1e3 * ages[-1]:.0f}",
        }
        if waited > 1.0:
            self._on_report("bus", WARN, f"no complete reading for {waited:.0f} s", values)
        elif rate > _WARN_RATE:
            sentence = f"{100 * rate:.1f} % of the motors' answers were lost in the last 10 s"
            self._on_report("bus", WARN, sentence, values)
        else:
            self._on_report("bus", OK, "all motors answer", values)
        if len(self._health) == len(MOTORS):
            hot = [MOTORS[index] for index in np.flatnonzero(self._derating() < 1.0)]
            sentence = f"{_names(hot)} hot: less effort" if hot else "no motor is hot"
            motors: dict[str, object] = {}
            for name, motor in zip(JOINT_NAMES, MOTORS, strict=True):
                health = self._health[motor]
                motors[f"{name}_celsius"] = health.temperature
                motors[f"{name}_volts"] = health.voltage
                motors[f"{name}_error"] = xl320.hardware_error_text(health.hardware_error) or "none"
                motors[f"{name}_firmware"] = self._firmware.get(motor, "unknown")
            self._on_report("motors", WARN if hot else OK, sentence, motors)


def _names(motors: Sequence[int]) -> str:
    *others, last = [JOINT_NAMES[motor - 1] for motor in motors]
    return f"{', '.join(others)} and {last}" if others else last


def _persist(
    exchange: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Answer:
    """Try an exchange again while its answer is lost. Raises the last BusError."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return exchange(*args, **kwargs)
        except PortError:
            raise
        except BusError:
            continue
    return exchange(*args, **kwargs)
