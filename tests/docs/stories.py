"""All stories: importing their modules registers them."""

from tests.docs import stories_connections, stories_files, stories_jobs, stories_money, stories_promises
from tests.docs.stage import REMEMBERING, STORIES, Stage, plain

__all__ = [
    "REMEMBERING",
    "STORIES",
    "Stage",
    "plain",
    "stories_connections",
    "stories_files",
    "stories_jobs",
    "stories_money",
    "stories_promises",
]
