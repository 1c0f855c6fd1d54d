"""What is put into the outbox is said once, in order, and keeps nobody waiting."""

from __future__ import annotations

import threading
from functools import partial

from ergojr_driver.outbox import Outbox


def test_who_puts_does_not_wait_and_nothing_is_lost_or_turned_round() -> None:
    errors: list[BaseException] = []
    said: list[int] = []
    free = threading.Event()
    outbox = Outbox(errors.append)
    outbox.put(lambda: said.append(-1 if free.wait(10.0) else -2))
    for number in range(100):  # a deadlock if one of them waited
        outbox.put(partial(said.append, number))
    assert said == []
    free.set()
    assert outbox.close(timeout=10.0)
    assert said == list(range(-1, 100))
    assert errors == []


def test_an_error_is_told() -> None:
    told = threading.Event()
    errors: list[BaseException] = []

    def tell(error: BaseException) -> None:
        errors.append(error)
        told.set()

    def fails() -> None:
        raise ValueError("the context is gone")

    outbox = Outbox(tell)
    outbox.put(fails)
    assert told.wait(10.0)
    assert [str(error) for error in errors] == ["the context is gone"]
    assert outbox.close(timeout=10.0)


def test_the_end_does_not_wait_for_ever() -> None:
    free = threading.Event()

    def waits() -> None:
        free.wait(10.0)

    outbox = Outbox(lambda error: None)
    outbox.put(waits)
    assert not outbox.close(timeout=0.01)
    free.set()
