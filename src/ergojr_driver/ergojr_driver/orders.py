"""What the operator orders the driver to do, until the driver has answered it.

An order is sent again until it is answered, within a limit; a stop has none. What gives the arm
torque needs consent, and is sent again only to a driver that has not changed since: consent is to
what was asked, and never to a fault that came later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

ACTIVATE, STOP, UNSTOP, RELEASE, HOLD = "activate", "stop", "unstop", "release", "hold"
_CONSENTS = (ACTIVATE, UNSTOP, HOLD)
_LIMIT = 10.0  # s that an order is sent again for
_STOP_ANSWER = 0.9  # s until a stop without an answer is sent again
_ANSWER = 3.0  # s for every other order: an activation may reboot motors


class OrderError(Exception):
    """An order that cannot be given now; one sentence."""


@dataclass(frozen=True)
class DriverSnapshot:
    """What the driver says of itself; names of planet_msgs/DriverStatus."""

    state: str
    cause: str = ""
    torque: bool = False
    """Whether a motor may have torque, in a state that should have none, too."""
    stamp: int = 0
    """ns; another one with each change, so that a second fault is not taken for the first."""


@dataclass
class Order:
    """What the driver shall do."""

    name: str
    given: float
    """s, on the operator's clock."""
    consent: DriverSnapshot | None
    """The driver that it was consented to; None for what takes torque away."""
    sent: float = -math.inf


class Orders:
    """The one order that the driver has not answered yet. Its owner has the lock.

    Args:
        send: gets an order for the driver, and gets it again until `answered`.
        tell: gets a sentence for the operator.
        clock: steady, s.
    """

    def __init__(
        self,
        send: Callable[[Order], None],
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._send = send
        self._tell = tell
        self._clock = clock
        self._order: Order | None = None

    def give(self, name: str, driver: DriverSnapshot | None) -> None:
        """Order it of `driver`, in place of what was ordered before. Raises OrderError.

        A stop that is not answered yet is not replaced.
        """
        if name != STOP and self._order is not None and self._order.name == STOP:
            raise OrderError("the driver has not answered the stop yet, which is sent again")
        self._post(Order(name, self._clock(), driver if name in _CONSENTS else None))

    def answered(self, order: Order, ok: bool, why: str = "") -> None:
        """The driver has answered `order`, and says why if it refuses."""
        if order is not self._order:
            return
        if ok and order.name == UNSTOP:  # consent was to both
            self._post(Order(ACTIVATE, order.given, order.consent))
        elif ok or order.name != STOP:
            self._order = None
        if not ok:
            self._tell(f"the driver refuses '{order.name}': {why or 'see driver_status'}")

    def on_driver(self, driver: DriverSnapshot) -> bool:
        """Withdraw consent that was given to another `driver`; whether it was."""
        order = self._order
        if order is None or order.consent is None or order.consent == driver:
            return False
        if order.consent.state == "stopped" and driver.state == "inactive":
            order.consent = driver  # the order's own doing: the stop is released
            return False
        self._order = None
        return True

    def on_silence(self) -> None:
        """Withdraw consent: nobody knows what the driver is now."""
        if self._order is not None and self._order.consent is not None:
            self._order = None

    def look(self) -> bool:
        """Send again what is not answered; whether an order was given up instead, and told."""
        order, now = self._order, self._clock()
        if order is None:
            return False
        if order.name != STOP and now - order.given > _LIMIT:
            self._order = None
            self._tell(
                f"the driver did not answer '{order.name}' for {_LIMIT:g} s: see its lines above, "
                "then answer again"
            )
            return True
        if now - order.sent > (_STOP_ANSWER if order.name == STOP else _ANSWER):
            self._post(order)
        return False

    def _post(self, order: Order) -> None:
        self._order = order
        order.sent = self._clock()
        self._send(order)
