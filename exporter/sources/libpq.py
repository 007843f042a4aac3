"""What libpq makes of parameters, before it connects anywhere."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import pq
from psycopg.conninfo import make_conninfo

#: No value of `target_session_attrs`: libpq completes the parameters, and then refuses this one
#: (https://www.postgresql.org/docs/current/libpq-connect.html). It has no call that only looks.
_REFUSED = {"target_session_attrs": "nowhere"}


def completed(params: Mapping[str, str]) -> dict[str, str]:
    """`params` with what their service, the environment and libpq's defaults add; with secrets.

    Empty where the service is not known.
    """
    asked = make_conninfo("", **{**params, **_REFUSED})
    connection = pq.PGconn.connect_start(asked.encode())
    try:
        found = {each.keyword.decode(): each.val for each in connection.info if each.val}
    finally:
        connection.finish()
    return {name: value.decode("utf-8", "replace") for name, value in found.items()}
