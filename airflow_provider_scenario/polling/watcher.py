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
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioError,
    ScenarioTransientError,
)
from airflow_provider_scenario.outcome import no_client_error, unreadable_error
from airflow_provider_scenario.polling import wait
from airflow_provider_scenario.polling.asking import AsyncSender, OpenClient, ask
from airflow_provider_scenario.polling.follower import Follower, Look
from airflow_provider_scenario.polling.job_index import JobList, Sweep
from airflow_provider_scenario.polling.outage import Outage, is_local, is_worth_single_reads
from airflow_provider_scenario.polling.pace import Pace

_LIST_REACH = 86_400.0
"""Seconds by which the list must reach back beyond a job's last known moment before it counts as not listed."""

_MOST_SEARCHES = 3
"""How often the list is asked to reach back so far for one refused job."""

_AT_ONCE = 50
"""How many to wake before others on the event loop get their turn."""


class JobWatcher:
    """Watches the jobs of one connection while anybody waits for them, and not a moment longer.

    :param open_client: Opens the client to ask with, as an async context manager. It is opened anew after each
        trouble: by then there may be newer credentials. The client should not repeat calls by itself.
    :param pace: How often to ask.
    :param clock: Returns seconds of the epoch.
    :param log: Where to say what goes wrong.
    """

    def __init__(
        self,
        open_client: OpenClient,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
        log: logging.Logger | None = None,
    ) -> None:
        self._open_client = open_client
        self._pace = pace or Pace()
        self._clock = clock
        self._log = log or logging.getLogger(__name__)
        self._followers: dict[str, list[Follower]] = {}
        self._listeners: list[float] = []
        self._audience: list[asyncio.Future[None]] = []
        self._runner: asyncio.Task[None] | None = None
        self._forget()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits, so that nothing is asked."""
        return self._runner is None

    @contextlib.asynccontextmanager
    async def follow(
        self, job_id: str, since: float | None = None, every: float | None = None
    ) -> AsyncIterator[Follower]:
        """Wait for a job.

        :param job_id: The job.
        :param since: When it was last known to run, in seconds of the epoch. Default: nobody knows.
        :param every: Seconds between two looks; the shortest of all followers counts for all. Default: the pace's.
        """
        now = self._clock()
        follower = Follower(job_id, since, every or self._pace.tick, heard_at=now)
        self._followers.setdefault(job_id, []).append(follower)
        self._start()
        listed = self._list.get(job_id)
        if listed is not None:
            self._pass_on(listed, follower)
        elif since is not None and self._list.covers(since):
            follower.is_new = False  # It would have been listed if it had changed.
        self._look_by(now + follower.every)
        try:
            yield follower
        finally:
            self._followers[job_id].remove(follower)
            if not self._followers[job_id]:
                del self._followers[job_id]
            self._stop_if_alone()

    async def look(self, follower: Follower, timeout: float) -> Look:
        """Have a follower's job read singly, as for a last look at a deadline.

        :param follower: Who waits for the job.
        :param timeout: Seconds to wait at most: where many want it at once, their turns take time.
        :return: The job, or why it could not be read.
        """
        follower.press()
        self._wanted.set()
        return await follower.next(timeout) or ScenarioTransientError("Scenario was not reached for a last look.")

    @contextlib.contextmanager
    def listen(self, since: float) -> Iterator[None]:
        """Keep the watcher going for the sake of :meth:`ended_since`. It asks nothing by itself for a listener.

        :param since: The earliest moment of interest, in seconds of the epoch.
        """
        self._start()
        self._listeners.append(since)
        self._unheeded.append(since)
        try:
            yield
        finally:
            self._listeners.remove(since)
            self._stop_if_alone()

    async def ended_since(self, since: float) -> frozenset[str]:
        """Look at the list, together with all who wait, and return the ids of the connection's jobs that have ended.

        Call it while listening.

        :param since: From when on, in seconds of the epoch.
        :raises ScenarioError: if the list could not be read.
        """
        look_is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._audience.append(look_is_over)
        self._wanted.set()
        await look_is_over
        return self._list.ended_since(since)

    def _forget(self) -> None:
        self._list = JobList(self._pace.reach)
        self._sweep: Sweep | None = None
        self._seekers: list[Follower] = []
        self._unheeded: list[float] = []
        self._wanted = asyncio.Event()
        self._due = math.inf
        self._outage = Outage()
        self._list_is_read = False
        self._list_refusal: ScenarioError | None = None
        self._next_silent = 0.0

    def _start(self) -> None:
        if self._runner is None or self._runner.done():
            self._forget()
            # A context of its own: what it logs is not of the task that happened to be the first to wait.
            self._runner = asyncio.get_running_loop().create_task(
                self._run(), name="scenario job watcher", context=contextvars.Context()
            )

    def _stop_if_alone(self) -> None:
        if not self._followers and not self._listeners and self._runner is not None:
            self._runner.cancel()
            self._runner = None

    async def _run(self) -> None:
        """Go round until nobody waits. Whatever happens is told and survived: thousands may wait behind this task."""
        await asyncio.sleep(min(self._pace.gather, self._interval() / 10.0))
        while True:
            has_client = False
            try:
                async with await self._open_client() as client:
                    has_client = True
                    while await self._round(client):
                        pass
            except Exception as error:  # noqa: BLE001
                await self._could_not_ask(error, has_client=has_client)
                await asyncio.sleep(self._interval())

    async def _round(self, client: AsyncSender) -> bool:
        """Look once, and wait until it is time to look again.

        :return: Whether the client is still good.
        """
        self._due = self._next_look()
        try:
            await self._read_list(client)
            self._list_was_read()
            # However slow the list is, there must be time for single reads.
            self._due = max(self._due, self._clock() + self._interval() / 2.0)
            await self._read_singly(client, self._uncertain())
            await self._read_silent(client)
            await self._pause(client)
        except ScenarioError as error:
            await self._get_over(error, client)
            return False
        return True

    async def _get_over(self, error: ScenarioError, client: AsyncSender) -> None:
        """Do without the list until it is time to look at it again."""
        self._list_is_read = False
        self._list_refusal = None if isinstance(error, ScenarioTransientError) else error
        if is_worth_single_reads(error) or await self._only_the_list_is_refused(error, client):
            self._say_list_is_lost(error)
            self._due = max(self._due, self._clock() + self._interval())
            await self._read_singly(client, sorted(self._everyone(), key=_last_heard))
        else:
            await self._could_not_ask(error, has_client=not is_local(error))
        until = self._clock() + min(self._pace.longest_pause, error.retry_after or 0.0)
        while self._clock() < until:
            await asyncio.sleep(until - self._clock())
        await self._pause(client)

    async def _pause(self, client: AsyncSender) -> None:
        """Wait, and read meanwhile whom somebody presses for; if somebody wants to know of the list, wait no longer."""
        while not self._audience:
            await self._read_singly(client, [one for one in self._everyone() if one.is_pressed])
            self._wanted.clear()
            left = self._due - self._clock()
            try:
                async with asyncio.timeout(None if left == math.inf else max(0.0, left)):
                    await self._wanted.wait()
            except TimeoutError:
                return

    async def _read_list(self, client: AsyncSender) -> None:
        """Read what changed since the last window, and wake whom it concerns.

        A page that can't be read is asked for once more at the next look: the pages before it were not in vain.
        """
        sweep, self._sweep = self._sweep or self._lay_out(), None
        longest = self._pace.longest_reply
        while not sweep.is_through and sweep.pages < self._pace.reach.most_pages:
            try:
                page = await ask(client, calls.list_jobs(updated_after=sweep.updated_after, token=sweep.token), longest)
            except ScenarioError:
                if sweep.pages and not sweep.has_failed:
                    sweep.has_failed, self._sweep = True, sweep
                raise
            await self._tell(self._list.take(sweep, page, self._clock()))
        self._list.close(sweep)
        self._settle(sweep)

    def _lay_out(self) -> Sweep:
        """Lay out the next window; for newcomers it reaches back to before, if they are more than a few."""
        now = self._clock()
        self._seekers = [one for one in self._everyone() if one.is_new]
        moments = [now - self._pace.look_back if one.since is None else one.since for one in self._seekers]
        moments = [moment for moment in moments if not self._list.covers(moment)]
        if len(moments) <= self._pace.few and not self._list.is_blank:
            moments = []
        moments += [since for since in self._unheeded if not self._list.covers(since)]
        self._unheeded = []
        return self._list.sweep(now, moments)

    def _settle(self, sweep: Sweep) -> None:
        """Have everybody read singly whose job the list may have kept silent of."""
        for one in self._seekers:
            if not one.is_new:
                continue
            if one.since is None or not self._list.covers(one.since):
                one.doubt()
            one.is_new = False
        self._seekers = []
        if not sweep.is_through:
            self._log.warning("Scenario's job list has more than %d pages of changes.", sweep.pages)
            for one in self._everyone():
                if one.heard_at < sweep.started:
                    one.doubt()

    async def _tell(self, jobs: Iterable[Job]) -> None:
        told = 0
        for job in jobs:
            for one in tuple(self._followers.get(job.id, ())):
                if self._pass_on(job, one):
                    told += 1
                    if told % _AT_ONCE == 0:
                        await asyncio.sleep(0)

    def _pass_on(self, listed: Job, follower: Follower) -> bool:
        """Let a follower hear what the list says, unless that is too little."""
        if listed.lacks_outputs:
            follower.doubt()
            return False
        if follower.is_pressed and not listed.is_finished:
            return False
        return follower.hear(listed, self._clock())

    async def _read_singly(self, client: AsyncSender, followers: Iterable[Follower]) -> None:
        """Read jobs one by one, at the bounded rate; who is left over when a look is due comes another time."""
        for one in followers:
            if self._clock() >= self._due:
                return
            await self._read_one(client, one)

    async def _read_silent(self, client: AsyncSender) -> None:
        """Read the job of which nothing was heard for the longest time, and further ones as long as there was news."""
        now = self._clock()
        if now < self._next_silent:
            return
        silent = [one for one in self._everyone() if now - one.heard_at >= self._pace.silent_after]
        for one in sorted(silent, key=_last_heard):
            if self._clock() >= self._due:
                return
            if not await self._read_one(client, one):
                break
        self._next_silent = now + self._pace.silent_every

    async def _only_the_list_is_refused(self, error: ScenarioError, client: AsyncSender) -> bool:
        """Whether a job can be read although the list was refused for so long that all are about to be told."""
        if not isinstance(error, ScenarioAuthenticationError) or not self._outage.is_lasting(self._clock()):
            return False
        for one in sorted(self._everyone(), key=_last_heard)[:_MOST_SEARCHES]:
            look = await self._ask_for(client, one)
            await asyncio.sleep(1.0 / self._pace.singles_a_second)
            if isinstance(look, Job):
                self._outage.end()
                return True
        return False

    async def _ask_for(self, client: AsyncSender, follower: Follower) -> Look:
        """Read a job, and return what that brought."""
        try:
            return await ask(client, calls.get_job(follower.job_id), self._pace.longest_reply)
        except ScenarioTransientError as error:
            return error
        except ScenarioError as refusal:
            return self._confirmed(follower, refusal)

    def _confirmed(self, follower: Follower, refusal: ScenarioError) -> Look:
        """Return what a job's refusal means beside the list: the job as it is listed, or an error.

        A refusal that lasts, of a job that the list does not show or that refuses too, ends the wait.
        """
        now = self._clock()
        listed = self._list.get(follower.job_id)
        if self._list_is_read and listed is not None and not listed.lacks_outputs:
            return listed
        if follower.refused_since is None:
            follower.refused_since = now
        refused_for = now - follower.refused_since
        if refused_for < wait.REFUSED_FOR:
            return refusal
        if not self._list_is_read:
            lasts = self._list_refusal is not None
            return unreadable_error(follower.job_id, refusal, refused_for) if lasts else refusal
        known = now - self._pace.look_back if follower.since is None else min(now, follower.since)
        if not self._list.covers(known - _LIST_REACH) and follower.searches < _MOST_SEARCHES:
            follower.searches += 1
            self._unheeded.append(known - _LIST_REACH)  # The next window reaches back so far, for all who wait.
            return refusal
        return unreadable_error(follower.job_id, refusal, refused_for)

    async def _read_one(self, client: AsyncSender, follower: Follower) -> bool:
        """Read a job, and return whether that was news."""
        if follower not in self._followers.get(follower.job_id, ()):
            return False
        look = await self._ask_for(client, follower)
        was_news = False
        for one in self._followers.get(follower.job_id, ()):
            one.is_pressed = False
            was_news |= one.hear(look, self._clock())
            if isinstance(look, Job) and self._list.misses(look):
                one.doubt()
        await asyncio.sleep(1.0 / self._pace.singles_a_second)
        return was_news

    def _list_was_read(self) -> None:
        self._list_is_read, self._list_refusal = True, None
        if self._outage.end():
            self._log.info("Scenario's job list can be read again.")
        for one in self._audience:
            if not one.done():
                one.set_result(None)
        self._audience = []

    def _say_list_is_lost(self, error: ScenarioError) -> None:
        """Say once that single reads take the list's place."""
        self._tell_audience(error)
        if self._outage.begin(error, self._clock(), is_refusal=False):
            self._log.warning(
                "Scenario's job list can't be read: %s Reading %d jobs one by one instead, at most %g a second.",
                error,
                len(self._followers),
                self._pace.singles_a_second,
            )

    async def _could_not_ask(self, error: Exception, *, has_client: bool = True) -> None:
        """Say once that nothing can be asked just now, and tell the followers what concerns them.

        Of what passes by itself one word is enough. What may stay is told after a minute, and ends the waits.

        :param has_client: Whether there was anything to ask with. If not, another process may have it.
        """
        self._list_is_read = False
        if not isinstance(error, ScenarioError):
            error = ScenarioTransientError(f"The watch on Scenario's jobs stumbled: {error!r}.")
        self._tell_audience(error)
        is_refusal = not has_client or not isinstance(error, ScenarioTransientError)
        is_new = self._outage.begin(error, self._clock(), is_refusal=is_refusal)
        if is_new:
            self._log.warning("Scenario can't be asked what became of %d jobs: %s", len(self._followers), error)
        lasts = is_refusal and self._outage.is_lasting(self._clock())
        if not lasts and (is_refusal or not is_new):
            return
        describe = unreadable_error if has_client else no_client_error
        for number, one in enumerate(list(self._everyone()), 1):
            told = describe(one.job_id, error, self._outage.refused_for(self._clock())) if lasts else error
            one.hear(told, self._clock())
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _tell_audience(self, error: ScenarioError) -> None:
        for one in self._audience:
            if not one.done():
                one.set_exception(error)
        self._audience = []

    def _uncertain(self) -> list[Follower]:
        """Return whom to read singly, who presses for it first."""
        uncertain = [one for one in self._everyone() if one.is_uncertain]
        return sorted(uncertain, key=lambda one: (not one.is_pressed, one.heard_at))

    def _next_look(self) -> float:
        """Return when to look again. Who listens asks for looks at a pace of its own, and is left the lead."""
        if not self._followers:
            return math.inf
        lead = 1.15 if self._listeners else 1.0
        return self._clock() + max(0.1, self._interval() * lead * random.uniform(0.95, 1.05))

    def _look_by(self, moment: float) -> None:
        """Look no later than at a moment, by our clock."""
        if moment < self._due - 0.1:
            self._due = moment
            self._wanted.set()

    def _interval(self) -> float:
        return min((one.every for one in self._everyone()), default=self._pace.tick)

    def _everyone(self) -> Iterator[Follower]:
        return (one for followers in self._followers.values() for one in followers)


def _last_heard(follower: Follower) -> float:
    return follower.heard_at
