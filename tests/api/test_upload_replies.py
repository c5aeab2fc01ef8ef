"""What is read of an upload's replies: of the right types, or our own error."""

from __future__ import annotations

import json
import random

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import Upload
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.exceptions import ScenarioError
from tests.broken_replies import UPLOAD, mutated
from tests.figures import figure

REPLIES = figure(3_000, 30_000)

GOOD = {"upload": UPLOAD}


def test_a_broken_reply_ends_in_our_own_error_or_in_right_types() -> None:
    chance = random.Random(5)
    call, read = calls.get_upload("upload_1"), 0
    for _ in range(REPLIES):
        content = json.dumps(mutated(chance, GOOD)).encode()
        if chance.random() < 0.1:
            content = content[: chance.randrange(len(content))]
        try:
            upload = call.read_reply(Response(200, {"content-type": "application/json"}, content))
        except ScenarioError:
            continue
        read += 1
        assert isinstance(upload.id, str)
        assert upload.id
        assert isinstance(upload.has_failed, bool)
        assert upload.asset_id is None or (isinstance(upload.asset_id, str) and upload.asset_id)
        assert upload.error is None or isinstance(upload.error, str)
        for part in upload.parts:
            assert type(part.number) is int
            assert part.number >= 1
            assert isinstance(part.url, str)
            assert part.url
    assert read > REPLIES / 30, "an odd fact that is not needed is left out"


def test_a_whole_reply() -> None:
    upload = Upload.read(GOOD["upload"])
    assert (upload.id, upload.asset_id, upload.error) == ("upload_1", "asset_1", "a reason")
    assert [part.number for part in upload.parts] == [1, 2]
    assert "bucket" not in repr(upload)
