"""What answers where Postgres should, and is none: a failure like any other, never an exception."""

from __future__ import annotations

import asyncio

import pytest

from exporter.snapshot.server import Reason
from tests.support.consoles import Answer, fake_console
from tests.support.postgres import failure, reading


class Always(dict[str, Answer]):
    """The same answer to every statement."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def get(self, command: str, default: Answer = None) -> Answer:  # type: ignore[override]  # noqa: ARG002
        return self._answer


@pytest.mark.parametrize(
    ("answer", "foreseen"),
    [
        ((("pid", "age"), [(None, None)]), False),
        ((("pid", "age"), [(b"one", b"two")]), False),
        ((("pid",), [(b"1",)]), False),
        ((("pid", "age"), []), True),
        (((), ()), True),
    ],
)
def test_an_answer_that_nobody_foresaw_is_a_failure(
    answer: Answer,
    foreseen: bool,  # noqa: FBT001  a parameter of the test
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [100.0]

    async def run() -> None:
        async with (
            fake_console(Always(answer), "16.1") as dsn,
            reading(dsn, clock=lambda: now[0]) as source,
        ):
            for _ in range(3):
                failed = await failure(source)
                assert failed.reason in {Reason.ERROR, Reason.POOLED}
                assert "DSN cannot be parsed" not in failed.message
                assert failed.message.startswith("not understood: ") is not foreseen
                now[0] += 60
            assert (await source.probe(now[0])).reason is None

    asyncio.run(run())
    told = [each for each in caplog.records if each.message == "an answer was not understood"]
    # Three polls; the traceback is of use once.
    assert len(told) == (not foreseen)
