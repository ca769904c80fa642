"""Calls on a thread of their own, which nobody has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def beside(act: Callable[[], T], *, name: str) -> Future[T]:
    """Call `act` on a new thread of this name; the future of what it returns or raises.

    The thread is a daemon: one that hangs does not keep the process from ending.
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=call, name=name, daemon=True).start()
    return future
