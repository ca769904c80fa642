"""Handlers on a Dask cluster: for work that outgrows a machine.

A call goes there as text and comes back as text; the function that is sent is ours, and is there
where this package is installed. A handler runs there at most once for an attempt: a task is never
retried by Dask, and is not given to a second worker when the first dies where the cluster is set to
`distributed.scheduler.allowed-failures: 0`. To try again is the executor's to decide. A call that
waits there is cancelled with its job; one that runs there goes on, as nothing can stop its thread.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from scheduler.errors import InvalidOption, SchedulerError, described
from scheduler.handlers.calls import Call
from scheduler.handlers.elsewhere import order_of, outcome_of, perform_order, text_of
from scheduler.model import Failed, Outcome

CONNECT_TIMEOUT = 10
"""Seconds within which the cluster's scheduler has to answer."""

CLOSE_TIMEOUT = 1


class Cluster:
    """Makes calls on the Dask cluster whose scheduler is at `address`; None: there is none."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._client: Any = None  # a distributed.Client, whose methods say no types

    def perform(self, call: Call) -> Outcome:
        """Make the call and wait for it; its outcome, whatever becomes of the cluster."""
        try:
            order = order_of(call)
            client = self._connected()
        except SchedulerError as error:
            return Failed(str(error))
        except Exception as error:  # noqa: BLE001 - Dask's and Tornado's, by many names
            return Failed(f"dask: {self._address} cannot be reached: {described(error)}")
        key = f"{call.job.name}-{call.job.id}-{call.context.attempt}-{uuid.uuid4().hex}"
        try:
            future = client.submit(run_on_worker, order, key=key, pure=False, retries=0)
            with call.context.on_cancel(lambda: future.cancel(force=True)):
                return outcome_of(future.result())
        except Exception as error:  # noqa: BLE001 - a worker that died, a lost connection
            what = "cancelled" if call.context.cancelled else "lost"
            return Failed(f"{what} on the dask cluster: {described(error)}")

    def close(self) -> None:
        """Let go of the cluster: what waits there is dropped, what runs there is left alone."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(timeout=CLOSE_TIMEOUT)

    def _connected(self) -> Any:
        """The client, connected anew where it was not any more.

        Raises InvalidOption where no cluster is set, or its library is missing; what Dask raises
        where it cannot be reached.
        """
        with self._lock:
            if self._client is None or self._client.status != "running":
                self._client = _client(self._address)
            return self._client


def _client(address: str | None) -> Any:
    if address is None:
        reason = "is not set, and a job is to run on a cluster"
        raise InvalidOption(
            "dask_address", "", reason, "set SCHEDULER_DASK_ADDRESS=tcp://host:8786"
        )
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        reason = f"needs the package {error.name}"
        hint = "pip install 'scheduler-service[dask]'"
        raise InvalidOption("dask_address", address, reason, hint) from None
    # A program that embeds us keeps its own default client.
    return Client(  # type: ignore[no-untyped-call]
        address, timeout=CONNECT_TIMEOUT, set_as_default=False, name="scheduler"
    )


def run_on_worker(order: str) -> str:
    """Make the call that `order` says, on a worker; the text of its outcome."""
    return text_of(perform_order(order))
