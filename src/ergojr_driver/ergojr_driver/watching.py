"""What is watched while the arm has torque: answers, faults, heat, commands, and who sends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from ergojr_description import xl320
from ergojr_description.kinematics import JOINT_NAMES, Array
from ergojr_driver.bus import Bus, BusError, MotorCommand, MotorState, PortError
from ergojr_driver.config import DriverConfig
from ergojr_driver.motors import ATTEMPTS, FaultError, Motors, names
from ergojr_driver.servo import MOTORS
from planet_core.report import Level

NO_COMMAND = "no joint_command for"
OLD_IMAGE = "the newest joint_command answers an image of"
NO_READING = "no complete reading for"
LOST_ANSWERS = "of the motors' answers are lost"
"""Parts of causes that may have a cause of their own."""

_RETRIES = 2  # more reads in a cycle, of the motors that have not answered
_HEALTH_EVERY = 4  # cycles between reads of one motor's health
_RATE_CYCLES = 50  # over which max_error_rate is judged, and
_RATE_LEAST = 20  # before that many it is not
_WARN_CYCLES = 1000  # over which a diagnostic looks at lost answers
_WARN_RATE = 0.002
_AHEAD = 0.05  # s that a stamp may lie in the future: another clock, or one that was set back


class BusWatch:
    """Reads the motors; raises FaultError for what they say, and for answers that are missing."""

    def __init__(self, config: DriverConfig, motors: Motors, steady: Callable[[], float]) -> None:
        self._config = config
        self._motors = motors
        self._steady = steady
        self.complete = 0.0
        """When all motors answered last, s."""
        self._corrupt = 0  # answers since then
        self._refused: dict[int, int] = {}  # error bytes since then
        self._cycles = 0
        self._lost: deque[int] = deque(maxlen=_WARN_CYCLES)  # answers lost in each cycle
        self._lost_writes = 0

    def begin(self) -> None:
        """Forget what was before torque came on."""
        self.complete = self._steady()
        self._lost.clear()

    def read(self, bus: Bus) -> dict[int, MotorState]:
        """One reading of all motors that answer; those that do not are asked again."""
        self._cycles += 1
        reading = bus.read_state(MOTORS)
        motors = dict(reading.motors)
        self._corrupt += reading.corrupt
        self._refused.update(reading.refused)
        self._lost.append(len(MOTORS) - len(motors))
        for _ in range(_RETRIES):
            missing = [motor for motor in MOTORS if motor not in motors]
            if not missing:
                break
            motors.update(bus.read_state(missing).motors)
        return motors

    def health_round(self, bus: Bus, powered: bool) -> None:
        """Now and then, look at the next motor's health."""
        if self._cycles % _HEALTH_EVERY == 0:
            self._look_at(bus, MOTORS[self._cycles // _HEALTH_EVERY % len(MOTORS)], powered)

    def answers(
        self,
        bus: Bus,
        motors: Mapping[int, MotorState],
        written: Mapping[int, MotorCommand],
        now: float,
    ) -> None:
        """Raise what the motors' answers, and those that did not come, say."""
        for motor, state in motors.items():
            wanted = written.get(motor)
            zeroed = (
                wanted is not None
                and state.torque_limit == 0
                and xl320.torque_to_raw(wanted.torque) > 0
            )
            # A torque limit of 0 is a shutdown or a write that was lost. To write it again before
            # that is known would arm a motor that has tripped.
            if state.alert or zeroed:
                if not any(self._look_at(bus, motor, True) for _ in range(ATTEMPTS)):
                    raise FaultError(f"{names([motor])} may have shut down, and does not say why")
                self._lost_writes += zeroed
        silent = [motor for motor in MOTORS if motor not in motors]
        waited = now - self.complete
        if silent and waited > self._config.read_watchdog:
            raise FaultError(f"{self._who(silent)}: {NO_READING} {1e3 * waited:.0f} ms")
        recent = list(self._lost)[-_RATE_CYCLES:]
        rate = sum(recent) / (len(recent) * len(MOTORS))
        if len(recent) >= _RATE_LEAST and rate > self._config.max_error_rate:
            raise FaultError(f"bus errors: {100 * rate:.0f} % {LOST_ANSWERS}")

    def is_complete(self, now: float) -> None:
        """All motors have answered at `now`."""
        self.complete = now
        self._corrupt = 0
        self._refused.clear()

    def _who(self, silent: list[int]) -> str:
        refusing = {motor: self._refused[motor] for motor in silent if motor in self._refused}
        if refusing:
            said = [
                f"{names([m])} refuses to be read ({xl320.refusal_text(byte)})"
                for m, byte in refusing.items()
            ]
            who = ", ".join(said)
        else:
            who = "no motor answers" if len(silent) == len(MOTORS) else f"{names(silent)} silent"
        return who + (f", {self._corrupt} answers corrupt" if self._corrupt else "")

    def _look_at(self, bus: Bus, motor: int, powered: bool) -> bool:
        """Read one motor's health; False where its answer is lost."""
        try:
            health = bus.read_health(motor)
        except PortError:
            raise
        except BusError:
            return False
        self._motors.health[motor] = health
        if powered:
            if trouble := self._motors.trouble(motor, health):
                raise FaultError(trouble)
            if not health.torque_on:
                raise FaultError(
                    f"{names([motor])} has lost its torque by itself: it has restarted; look at "
                    "its cable and at the supply"
                )
        return True

    def report(self) -> tuple[Level, str, dict[str, object]]:
        """Level, sentence and values on the bus."""
        # Of the whole span, even before it is over: one hiccup at the start is no warning.
        rate = sum(self._lost) / (_WARN_CYCLES * len(MOTORS))
        waited = self._steady() - self.complete
        values: dict[str, object] = {
            "answers_lost_percent": f"{100 * rate:.2f}",
            "writes_lost": self._lost_writes,
        }
        if waited > 1.0:
            return "warn", f"no complete reading for {waited:.0f} s", values
        if rate > _WARN_RATE:
            sentence = f"{100 * rate:.1f} % of the motors' answers were lost in the last 10 s"
            return "warn", sentence, values
        return "ok", "all motors answer", values

    def report_motors(self) -> tuple[Level, str, dict[str, object]]:
        """Level, sentence and values on the motors."""
        motors = self._motors
        hot = [MOTORS[index] for index in np.flatnonzero(motors.derating() < 1.0)]
        said = [f"{names(hot)} hot: less effort"] if hot else []
        if motors.without_speed:
            who = names(motors.without_speed)
            said.append(f"the speed that {who} reports is wrong: differenced positions are used")
        said += [motors.found_amiss] if motors.found_amiss else []
        values: dict[str, object] = {}
        for name, motor in zip(JOINT_NAMES, MOTORS, strict=True):
            health = motors.health[motor]
            values[f"{name}_celsius"] = health.temperature
            values[f"{name}_volts"] = health.voltage
            values[f"{name}_error"] = xl320.hardware_error_text(health.hardware_error) or "none"
            values[f"{name}_firmware"] = motors.firmware.get(motor, "unknown")
        return ("warn", "; ".join(said), values) if said else ("ok", "no motor is hot", values)


class EpisodeWatch:
    """Sees to it that an episode has commands of one who sees the arm, and an end."""

    def __init__(self, config: DriverConfig) -> None:
        self._config = config
        self.command: Array = np.zeros(4)
        """[4] N m, the newest command's."""
        self.ignored = 0
        """Commands that were too old, or of another episode."""
        self._time = 0.0  # when it came, s
        self._seen_stamp = 0  # of the oldest image that a command knows of, in ns
        self._seen_time = 0.0  # and the same on the steady clock
        self._start = 0.0
        self._ages: deque[float] = deque(maxlen=_WARN_CYCLES)

    def take(
        self,
        command: Array,
        stamp: int,
        arrival: float,
        first_stamp: int,
        clock: int,
        *,
        first: bool,
    ) -> bool:
        """Take a command that answers the observation of `stamp`; returns whether it counts.

        Args:
            arrival: s, on the steady clock.
            first_stamp: of the episode's first reading, ns.
            clock: the time now, ns, of the clock that stamps are of.
            first: whether it would begin the episode.
        """
        age = (clock - stamp) * 1e-9
        if stamp < first_stamp or not -_AHEAD <= age <= self._config.max_observation_age:
            self.ignored += 1  # the watchdogs do the rest
            return False
        self.command = command
        self._time = arrival
        # An image does not get younger by being named again, whatever the clock is set to.
        if first or stamp > self._seen_stamp:
            self._seen_stamp, self._seen_time = stamp, arrival - max(0.0, age)
        if first:
            self._start = arrival
        return True

    def is_over(self, now: float) -> bool:
        """Whether the episode has had all of its ticks.

        Raises:
            FaultError: its commands have ended, or answer images that are too old.
        """
        config = self._config
        waited, age = now - self._time, now - self._seen_time
        if now - self._start >= config.max_steps * config.control_period:
            return True
        if waited > config.command_watchdog * config.control_period:
            raise FaultError(f"{NO_COMMAND} {1e3 * waited:.0f} ms")
        if age > config.max_observation_age:
            raise FaultError(f"{OLD_IMAGE} {1e3 * age:.0f} ms ago")
        self._ages.append(age)
        return False

    def report(self) -> dict[str, object]:
        """Values for the diagnostics."""
        ages = sorted(self._ages) or [0.0]
        return {
            "stale_commands": self.ignored,
            "image_age_p99_ms": f"{1e3 * ages[int(0.99 * (len(ages) - 1))]:.0f}",
            "image_age_most_ms": f"{1e3 * ages[-1]:.0f}",
        }
