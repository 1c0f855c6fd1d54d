"""The operator's orders to the driver.

An order is sent again until the driver answers it, for a limited time; a stop has no limit. Orders
that give the arm torque need the operator's consent. They are sent again only while the driver has
not changed, because the operator did not consent to a fault that came later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

ACTIVATE, STOP, UNSTOP, RELEASE, HOLD = "activate", "stop", "unstop", "release", "hold"
_CONSENTS = (ACTIVATE, UNSTOP, HOLD)
_LIMIT = 10.0  # s for which an order is sent again
_STOP_ANSWER = 0.9  # s until a stop without an answer is sent again
_ANSWER = 3.0  # s for every other order: an activation may reboot motors


class OrderError(Exception):
    """An order cannot be given now; one sentence."""


@dataclass(frozen=True)
class DriverSnapshot:
    """The driver's status, with the fields of planet_msgs/DriverStatus.

    Attributes:
        state: the driver's state.
        cause: why the driver is in this state.
        torque: whether a motor may have torque, even in a state without torque.
        stamp: ns, different with each change, so that a second fault is not taken for the first.
    """

    state: str
    cause: str = ""
    torque: bool = False
    stamp: int = 0


@dataclass
class Order:
    """Something that the driver is to do.

    Attributes:
        name: what to do.
        given: when the order was given, in s of the operator's clock.
        consent: the driver as it was when the operator consented; None for orders that need no
            consent.
        sent: when the order was sent last, in s of the operator's clock.
    """

    name: str
    given: float
    consent: DriverSnapshot | None
    sent: float = -math.inf


class Orders:
    """Holds the one order that the driver has not answered yet. The caller must hold a lock.

    Args:
        send: receives an order for the driver, again and again until `answered`.
        tell: receives a sentence for the operator.
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
        """Give `driver` an order in place of the last one.

        Raises:
            OrderError: if the last one is a stop that is not answered yet.
        """
        if name != STOP and self._order is not None and self._order.name == STOP:
            raise OrderError("the driver has not answered the stop yet, which is sent again")
        self._post(Order(name, self._clock(), driver if name in _CONSENTS else None))

    def answered(self, order: Order, ok: bool, why: str = "") -> None:
        """Take the driver's answer to `order`, and its reason if it refuses."""
        if order is not self._order:
            return
        if ok and order.name == UNSTOP:  # the operator has consented to the activation, too
            self._post(Order(ACTIVATE, order.given, order.consent))
        elif ok or order.name != STOP:
            self._order = None
        if not ok:
            self._tell(f"the driver refuses '{order.name}': {why or 'see driver_status'}")

    def on_driver(self, driver: DriverSnapshot) -> bool:
        """Withdraw an order whose consent was for another driver, and return whether there was."""
        order = self._order
        if order is None or order.consent is None or order.consent == driver:
            return False
        if order.consent.state == "stopped" and driver.state == "inactive":
            order.consent = driver  # the order itself has released the stop
            return False
        self._order = None
        return True

    def on_silence(self) -> None:
        """Withdraw an order that needs consent, for the driver's status is unknown now."""
        if self._order is not None and self._order.consent is not None:
            self._order = None

    def look(self) -> bool:
        """Send an unanswered order again, or give it up after `_LIMIT` and return true."""
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
