"""How often and how far back to ask Scenario what became of the jobs that are waited for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reach:
    """How far back to ask.

    :param overlap: Seconds by which a window reaches back into the one before: the list lags by some. Default 30.
    :param margin: Seconds to look back beyond a moment that our own clock told: clocks differ. Default 300.
    :param most_pages: Pages of a hundred jobs to read of one window at most. Default 60.
    :param most_jobs: Jobs to remember at most. Default 10,000.
    """

    overlap: float = 30.0
    margin: float = 300.0
    most_pages: int = 60
    most_jobs: int = 10_000


@dataclass(frozen=True)
class Pace:
    """How often the watcher asks.

    :param tick: Seconds between two looks at the job list, where no follower wants another pace. Default 10.
    :param gather: Seconds to wait for more followers before the first look, a tenth of a tick at most. Default 1.
    :param reach: How far back a look reaches.
    :param look_back: Seconds to look back for a job of which nobody says when it was last known to run. Default 3,600.
    :param few: Up to this many newcomers from before what the list has told are read singly rather than by a wider
        window. Default 5.
    :param singles_a_second: Single reads a second at most. Default 5.
    :param silent_after: Seconds after which a job of which the list says nothing is read singly. Default 600.
    :param silent_every: Seconds between two such reads, as long as they bring no news. Default 60.
    :param longest_reply: Seconds to wait for a reply. Default 20.
    :param longest_pause: Seconds for which Scenario may ask to be left alone. Default 300.
    """

    tick: float = 10.0
    gather: float = 1.0
    reach: Reach = field(default_factory=Reach)
    look_back: float = 3600.0
    few: int = 5
    singles_a_second: float = 5.0
    silent_after: float = 600.0
    silent_every: float = 60.0
    longest_reply: float = 20.0
    longest_pause: float = 300.0
