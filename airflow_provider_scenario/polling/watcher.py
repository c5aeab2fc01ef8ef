"""One poll for every waiting task: who waits for jobs of one connection shares one watcher.

Each tick the watcher asks Scenario once what has changed and wakes whom it concerns, so a thousand waiting jobs cost
what one costs. What the list may miss (it lags, it may be refused, a job may have ended before anybody watched) is
made up for by windows that overlap, by remembering what was listed, and by reading single jobs at a bounded rate.
Plain asyncio with the client passed in: nothing here knows Airflow.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConnectionError,
    ScenarioError,
    ScenarioTransientError,
)
from airflow_provider_scenario.polling import POLL_INTERVAL, wait
from airflow_provider_scenario.polling.result import no_client_error, unreadable_error
from airflow_provider_scenario.polling.watcher_state import (
    JobIndex,
    ListWindow,
    PollErrors,
    Reading,
    Subscription,
    asked_nothing,
    is_worth_single_reads,
)

GATHER_SECONDS = 1.0
"""Seconds to wait for more waits before the first poll, a tenth of an interval at most."""

KEEP_LIST_SECONDS = 300.0
"""Seconds for which the list is remembered while nobody waits: where tasks come and go, it need not be read anew."""

LOOK_BACK = 3600.0
"""Seconds to look back for a job of which nobody says when it was last known to run."""

MAX_OLD_READS = 5
"""Read at most so many old jobs one by one; above it, widen the window of the list."""

READS_A_SECOND = 5.0
"""Jobs to read by themselves in a second, at most."""

UNLISTED_AFTER = 600.0
"""Seconds without a word of the list about a job after which it is read by itself."""

UNLISTED_INTERVAL = 60.0
"""Seconds between two such reads, as long as they bring nothing new."""

REPLY_TIMEOUT = 20.0
"""Seconds to wait for a reply."""

MAX_LIST_RETRY_AFTER = 300.0
"""The longest Retry-After that is honoured, in seconds."""

MAX_WINDOW_PAGES = 60
"""Pages of a hundred jobs to read of one window at most."""

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LIST_REACH = 86_400.0
"""Seconds by which the list must reach back beyond a job's last known moment before it counts as not listed."""

_MOST_SEARCHES = 3
"""How often the list is asked to reach back so far for one refused job."""

_MOST_TRIALS = 3
"""How many jobs are read by themselves to learn whether the list alone is refused."""

_BATCH = 50
"""How many to wake before others on the event loop get their turn."""


class AsyncClient(Protocol):
    """What sends calls: a :class:`~airflow_provider_scenario.api.client.ClientThread`."""

    async def send(self, call: Call[T], /) -> T:
        """Send a call and return what its reply says."""


OpenClient = Callable[[], Awaitable[AbstractAsyncContextManager[AsyncClient]]]
"""Opens the client to ask with. It is opened anew after each trouble: by then there may be newer credentials. The
client should not repeat calls by itself."""


class JobWatcher:
    """Watches the jobs of one connection while anybody waits for them, and not a moment longer."""

    def __init__(
        self,
        open_client: OpenClient,
        *,
        clock: Callable[[], float] = time.time,  # Seconds of the epoch.
    ) -> None:
        self._open_client = open_client
        self._clock = clock
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._keepers: list[float] = []
        self._list_waiters: list[asyncio.Future[None]] = []
        self._runner: asyncio.Task[None] | None = None
        self._end: asyncio.TimerHandle | None = None
        self._polled_at = self._list_read_at = -math.inf
        self._forget()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits, so that nothing is asked."""
        return self._runner is None

    @contextlib.asynccontextmanager
    async def subscribe(
        self, job_id: str, since: float | None, poll_interval: float | None = None
    ) -> AsyncIterator[Subscription]:
        """Wait for a job; ``since`` and ``poll_interval`` as in :class:`Subscription`."""
        now = self._clock()
        subscription = Subscription(job_id, since, poll_interval or POLL_INTERVAL, delivered_at=now)
        self._subscriptions.setdefault(job_id, []).append(subscription)
        self._start()
        listed = self._list.get(job_id)
        if listed is not None:
            self._deliver_listed(listed, subscription)
        elif since is not None and self._list.covers(since):
            subscription.is_new = False  # It would have been listed if it had changed.
        self._poll_by(now + subscription.poll_interval)
        try:
            yield subscription
        finally:
            self._subscriptions[job_id].remove(subscription)
            if not self._subscriptions[job_id]:
                del self._subscriptions[job_id]
            self._stop_if_alone()

    async def read_now(self, subscription: Subscription, timeout: float) -> Reading:
        """Have a job read by itself now, as for a final check at a deadline; return it, or why it could not be read."""
        subscription.request_read()
        self._wanted.set()
        # The time-out is in seconds: where many want it at once, their turns take time.
        return await subscription.next_update(timeout) or ScenarioTransientError(
            "Scenario was not reached for a final check."
        )

    @contextlib.contextmanager
    def keep_polling(self, since: float) -> Iterator[None]:
        """Keep the watcher going for the sake of :meth:`ended_since`. It polls nothing by itself for this."""
        self._start()
        self._keepers.append(since)
        self._reach_back_to.append(since)  # The earliest moment of interest, in seconds of the epoch.
        try:
            yield
        finally:
            self._keepers.remove(since)
            self._stop_if_alone()

    async def ended_since(self, since: float) -> frozenset[str]:
        """Read the list with all who wait; return which jobs ended since a moment. Only inside :meth:`keep_polling`."""
        list_is_read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._list_waiters.append(list_is_read)
        self._wanted.set()
        await list_is_read  # Raises a ScenarioError if the list could not be read.
        return self._list.ended_since(since)

    def _forget(self) -> None:
        if self._clock() - self._list_read_at > KEEP_LIST_SECONDS:
            self._list = JobIndex()
        self._window: ListWindow | None = None
        self._new_subscriptions: list[Subscription] = []
        self._reach_back_to: list[float] = []
        self._wanted = asyncio.Event()
        # Who stops and starts within an interval polls no more often than who goes on. The last wait may end, and with
        # it the poll, before all pages are read.
        self._due = min(self._polled_at, self._clock()) + self._interval()
        self._errors = PollErrors()
        self._list_is_read = False
        self._list_refusal: ScenarioError | None = None
        self._next_unlisted = 0.0

    def _start(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._runner is None or self._runner.done():
            self._forget()
            # A context of its own: what it logs is not of the task that happened to be the first to wait.
            self._runner = asyncio.get_running_loop().create_task(
                self._run(), name="scenario job watcher", context=contextvars.Context()
            )

    def _stop_if_alone(self) -> None:
        if not self._subscriptions and not self._keepers and self._runner is not None:
            self._runner.cancel()
            self._runner = None
            # Who shares watchers refers to them weakly: the timer keeps this one, and its list.
            self._end = asyncio.get_running_loop().call_later(KEEP_LIST_SECONDS, self._forget_list)

    def _forget_list(self) -> None:
        self._end, self._list = None, JobIndex()

    async def _run(self) -> None:
        """Poll until nobody waits. Every error is reported and survived: thousands may wait behind this task."""
        await asyncio.sleep(min(GATHER_SECONDS, self._interval() / 10.0))
        while True:
            has_client = False
            try:
                async with await self._open_client() as client:
                    has_client = True
                    await self._pause(client)
                    while await self._poll_once(client):
                        pass
            except Exception as error:  # noqa: BLE001
                await self._could_not_ask(error, has_client=has_client)
                await asyncio.sleep(self._interval())

    async def _poll_once(self, client: AsyncClient) -> bool:
        """Poll once, and wait until it is time to poll again; return whether the client is still good."""
        self._polled_at, self._due = self._clock(), self._next_poll()
        try:
            await self._read_list(client)
            self._list_was_read()
            # However slow the list is, there must be time for single reads.
            self._due = max(self._due, self._clock() + self._interval() / 2.0)
            await self._read_singly(client, self._uncertain())
            await self._read_unlisted(client)
            await self._pause(client)
        except ScenarioError as error:
            await self._do_without_list(error, client)
            return False
        return True

    async def _do_without_list(self, error: ScenarioError, client: AsyncClient) -> None:
        """Read jobs one by one until it is time to read the list again."""
        self._list_is_read = False
        self._list_refusal = None if isinstance(error, ScenarioTransientError) else error
        if is_worth_single_reads(error) or await self._only_list_is_refused(error, client):
            self._report_list_lost(error)
            self._due = max(self._due, self._clock() + self._interval())
            await self._read_singly(client, sorted(self._all_subscriptions(), key=_last_delivered))
        else:
            await self._could_not_ask(error, has_client=not asked_nothing(error))
        until = self._clock() + min(MAX_LIST_RETRY_AFTER, error.retry_after or 0.0)
        while self._clock() < until:
            await asyncio.sleep(until - self._clock())
        await self._pause(client)

    async def _pause(self, client: AsyncClient) -> None:
        """Wait, and read the jobs that somebody wants read now; if somebody waits for the list, wait no longer."""
        while not self._list_waiters:
            await self._read_singly(client, [one for one in self._all_subscriptions() if one.wants_read])
            self._wanted.clear()
            left = self._due - self._clock()
            try:
                async with asyncio.timeout(None if left == math.inf else max(0.0, left)):
                    await self._wanted.wait()
            except TimeoutError:
                return

    async def _read_list(self, client: AsyncClient) -> None:
        """Read what changed since the last window, and wake whom it concerns."""
        window, self._window = self._window or self._next_window(), None
        while not window.is_complete and window.pages < MAX_WINDOW_PAGES:
            try:
                page = await _send(client, calls.list_jobs(updated_after=window.updated_after, token=window.token))
            except ScenarioError:
                # It is read once more at the next poll: the pages before it are kept.
                if window.pages and not window.has_failed:
                    window.has_failed, self._window = True, window
                raise
            await self._deliver(self._list.add_page(window, page, self._clock()))
        self._list.close(window)
        self._finish_window(window)

    def _next_window(self) -> ListWindow:
        """Return the next window of the list. It reaches back to old jobs, if they are more than a few."""
        now = self._clock()
        self._new_subscriptions = [one for one in self._all_subscriptions() if one.is_new]
        moments = [now - LOOK_BACK if one.since is None else one.since for one in self._new_subscriptions]
        moments = [moment for moment in moments if not self._list.covers(moment)]
        if len(moments) <= MAX_OLD_READS and not self._list.is_empty:
            moments = []
        moments += [since for since in self._reach_back_to if not self._list.covers(since)]
        self._reach_back_to = []
        return self._list.next_window(now, moments)

    def _finish_window(self, window: ListWindow) -> None:
        """Mark every job uncertain that the list may have missed."""
        for one in self._new_subscriptions:
            if not one.is_new:
                continue
            if one.since is None or not self._list.covers(one.since):
                one.mark_uncertain()
            one.is_new = False
        self._new_subscriptions = []
        if not window.is_complete:
            _log.warning("Scenario's job list has more than %d pages of changes.", window.pages)
            for one in self._all_subscriptions():
                if one.delivered_at < window.started:
                    one.mark_uncertain()

    async def _deliver(self, jobs: Iterable[Job]) -> None:
        delivered = 0
        for job in jobs:
            for one in tuple(self._subscriptions.get(job.id, ())):
                if self._deliver_listed(job, one):
                    delivered += 1
                    if delivered % _BATCH == 0:
                        await asyncio.sleep(0)

    def _deliver_listed(self, listed: Job, subscription: Subscription) -> bool:
        """Deliver what the list shows of a job, unless that is too little."""
        if listed.lacks_outputs:
            subscription.mark_uncertain()
            return False
        if subscription.wants_read and not listed.is_finished:
            return False
        return subscription.deliver(listed, self._clock())

    async def _read_singly(self, client: AsyncClient, subscriptions: Iterable[Subscription]) -> None:
        """Read jobs one by one, at the bounded rate; who is left over when a poll is due comes another time."""
        for one in subscriptions:
            if self._clock() >= self._due:
                return
            await self._read_one(client, one)

    async def _read_unlisted(self, client: AsyncClient) -> None:
        """Read the job without an update for the longest time, and further ones as long as that brings updates."""
        now = self._clock()
        if now < self._next_unlisted:
            return
        unlisted = [one for one in self._all_subscriptions() if now - one.delivered_at >= UNLISTED_AFTER]
        for one in sorted(unlisted, key=_last_delivered):
            if self._clock() >= self._due:
                return
            if not await self._read_one(client, one):
                break
        self._next_unlisted = now + UNLISTED_INTERVAL

    async def _only_list_is_refused(self, error: ScenarioError, client: AsyncClient) -> bool:
        """Whether a job can be read although the list was refused for so long that all waits are about to end."""
        if not isinstance(error, ScenarioAuthenticationError) or not self._errors.is_lasting(self._clock()):
            return False
        for one in sorted(self._all_subscriptions(), key=_last_delivered)[:_MOST_TRIALS]:
            reading = await self._read_job(client, one)
            await asyncio.sleep(1.0 / READS_A_SECOND)
            if isinstance(reading, Job):
                self._errors.end()
                return True
        return False

    async def _read_job(self, client: AsyncClient, subscription: Subscription) -> Reading:
        """Read a job, and return what that brought."""
        try:
            return await _send(client, calls.get_job(subscription.job_id))
        except ScenarioTransientError as error:
            return error
        except ScenarioError as refusal:
            return self._confirmed(subscription, refusal)

    def _confirmed(self, subscription: Subscription, refusal: ScenarioError) -> Reading:
        """Return what a job's refusal means beside the list: the job as it is listed, or an error."""
        now = self._clock()
        listed = self._list.get(subscription.job_id)
        if self._list_is_read and listed is not None and not listed.lacks_outputs:
            return listed
        if subscription.refused_since is None:
            subscription.refused_since = now
        refused_for = now - subscription.refused_since
        if refused_for < wait.REFUSED_FOR:
            return refusal
        # A refusal that lasts, of a job that the list does not show or that refuses too, ends the wait.
        if not self._list_is_read:
            lasts = self._list_refusal is not None
            return unreadable_error(subscription.job_id, refusal, refused_for) if lasts else refusal
        known = now - LOOK_BACK if subscription.since is None else min(now, subscription.since)
        if not self._list.covers(known - _LIST_REACH) and subscription.searches < _MOST_SEARCHES:
            subscription.searches += 1
            self._reach_back_to.append(known - _LIST_REACH)  # The next window reaches back so far, for all who wait.
            return refusal
        return unreadable_error(subscription.job_id, refusal, refused_for)

    async def _read_one(self, client: AsyncClient, subscription: Subscription) -> bool:
        """Read a job, and return whether that was news."""
        if subscription not in self._subscriptions.get(subscription.job_id, ()):
            return False
        reading = await self._read_job(client, subscription)
        is_update = False
        for one in self._subscriptions.get(subscription.job_id, ()):
            one.wants_read = False
            is_update |= one.deliver(reading, self._clock())
            if isinstance(reading, Job) and self._list.lacks(reading):
                one.mark_uncertain()
        await asyncio.sleep(1.0 / READS_A_SECOND)
        return is_update

    def _list_was_read(self) -> None:
        self._list_is_read, self._list_refusal, self._list_read_at = True, None, self._clock()
        if self._errors.end():
            _log.info("Scenario's job list can be read again.")
        for one in self._list_waiters:
            if not one.done():
                one.set_result(None)
        self._list_waiters = []

    def _report_list_lost(self, error: ScenarioError) -> None:
        """Say once that single reads take the list's place."""
        self._fail_list_waiters(error)
        if self._errors.begin(error, self._clock(), is_refusal=False):
            _log.warning(
                "Scenario's job list can't be read: %s Reading %d jobs one by one instead, at most %g a second.",
                error,
                len(self._subscriptions),
                READS_A_SECOND,
            )

    async def _could_not_ask(self, error: Exception, *, has_client: bool) -> None:
        """Report once that nothing can be asked just now, and let those who wait know what concerns them."""
        self._list_is_read = False
        if not isinstance(error, ScenarioError):
            error = ScenarioTransientError(f"The poll of Scenario's jobs failed: {error!r}.")
        self._fail_list_waiters(error)
        is_refusal = not has_client or not isinstance(error, ScenarioTransientError)
        is_new = self._errors.begin(error, self._clock(), is_refusal=is_refusal)
        if is_new:
            _log.warning("Scenario can't be asked what became of %d jobs: %s", len(self._subscriptions), error)
        # A transient error is reported once. A refusal that lasts for a minute ends the waits.
        lasts = is_refusal and self._errors.is_lasting(self._clock())
        if not lasts and (is_refusal or not is_new):
            return
        # If there was nothing to ask with, another process may have it.
        describe = unreadable_error if has_client else no_client_error
        for number, one in enumerate(list(self._all_subscriptions()), 1):
            reading = describe(one.job_id, error, self._errors.refused_for(self._clock())) if lasts else error
            one.deliver(reading, self._clock())
            if number % _BATCH == 0:
                await asyncio.sleep(0)

    def _fail_list_waiters(self, error: ScenarioError) -> None:
        for one in self._list_waiters:
            if not one.done():
                one.set_exception(error)
        self._list_waiters = []

    def _uncertain(self) -> list[Subscription]:
        """Return whose jobs to read singly, those first that are wanted now."""
        uncertain = [one for one in self._all_subscriptions() if one.is_uncertain]
        return sorted(uncertain, key=lambda one: (not one.wants_read, one.delivered_at))

    def _next_poll(self) -> float:
        """Return when to poll next. The capacity queue polls by itself: let it go first."""
        if not self._subscriptions:
            return math.inf
        lead = 1.15 if self._keepers else 1.0
        return self._clock() + max(0.1, self._interval() * lead * random.uniform(0.95, 1.05))

    def _poll_by(self, moment: float) -> None:
        """Poll no later than at a moment, by our clock."""
        if moment < self._due - 0.1:
            self._due = moment
            self._wanted.set()

    def _interval(self) -> float:
        # The shortest of all who wait counts for all.
        return min((one.poll_interval for one in self._all_subscriptions()), default=POLL_INTERVAL)

    def _all_subscriptions(self) -> Iterator[Subscription]:
        return (one for subscriptions in self._subscriptions.values() for one in subscriptions)


def _last_delivered(subscription: Subscription) -> float:
    return subscription.delivered_at


async def _send(client: AsyncClient, call: Call[T]) -> T:
    """Send a call with a bounded wait, so that only errors of our own come back."""
    try:
        async with asyncio.timeout(REPLY_TIMEOUT):
            return await client.send(call)
    except ScenarioError:
        raise
    except TimeoutError:
        error: ScenarioError = ScenarioConnectionError(
            f"Scenario did not {call.action} within {REPLY_TIMEOUT:g} seconds."
        )
    except Exception as unexpected:  # noqa: BLE001 - whatever it is, it is the trouble of this one call
        error = ScenarioTransientError(f"The attempt to {call.action} failed: {unexpected!r}.")
    raise error
