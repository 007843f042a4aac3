import json

import pytest

from exporter.snapshot.codec import snapshot_from_json, snapshot_to_json
from tests.support.states import group, snapshot


def test_a_snapshot_comes_back_as_it_was():
    kept = snapshot(
        group(3), group(state_age_seconds=1.5, oldest_pid=7, stale=1, client_addr="::1")
    )
    assert snapshot_from_json(snapshot_to_json(kept)) == kept


@pytest.mark.parametrize(
    "change",
    [
        {"columns": ["datname"]},
        {"columns": None},
        {"groups": [["shop"]]},
        {"groups": [None]},
        {"groups": 1},
        {"facts": {}},
    ],
)
def test_what_another_version_kept_is_no_snapshot(change):
    raw = json.loads(snapshot_to_json(snapshot(group())))
    with pytest.raises(ValueError):  # noqa: PT011  which of the parts it was does not matter
        snapshot_from_json(json.dumps(raw | change))
