import asyncio
import time
from datetime import UTC, datetime, timedelta

from exporter.schedule import Job, Schedule


async def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


def test_a_turn_comes_at_its_interval_and_the_interval_may_change():
    async def scenario():
        turns: list[float] = []
        schedule = Schedule()

        async def turn():
            turns.append(asyncio.get_running_loop().time())

        schedule.every("a", turn, lambda: 0.05 if len(turns) < 3 else 60.0)
        schedule.start()
        await until(lambda: len(turns) == 3)
        # Longer than many of the first intervals: the changed one holds.
        await asyncio.sleep(0.3)
        await schedule.stop(1.0)
        return turns

    assert len(asyncio.run(scenario())) == 3


def test_a_frozen_turn_delays_nobody_else_and_never_overlaps_itself():
    async def scenario():
        started, others = [], []
        schedule = Schedule()

        async def frozen():
            started.append(1)
            await asyncio.sleep(60)

        async def other():
            others.append(1)

        schedule.every("frozen", frozen, lambda: 0.02)
        schedule.every("other", other, lambda: 0.02)
        schedule.start()
        await until(lambda: len(others) >= 10)
        before = time.monotonic()
        await schedule.stop(0.1)
        return started, time.monotonic() - before

    started, _ = asyncio.run(scenario())
    assert started == [1]


def test_a_turn_that_raises_is_logged_and_the_next_one_comes(caplog):
    async def scenario():
        turns: list[int] = []
        schedule = Schedule()

        async def turn():
            turns.append(1)
            raise RuntimeError("broken")

        schedule.every("a", turn, lambda: 0.02)
        schedule.start()
        await until(lambda: len(turns) >= 2)
        await schedule.stop(0.1)

    asyncio.run(scenario())
    assert any(record.message == "turn failed" for record in caplog.records)


def test_a_run_that_the_wall_clock_put_an_hour_away_is_brought_forward(caplog):
    async def scenario():
        turns: list[int] = []
        schedule = Schedule()

        async def turn():
            turns.append(1)

        schedule.every("a", turn, lambda: 0.2)
        schedule.start()
        await until(lambda: len(turns) == 1)
        # What a step back of the clock by an hour looks like to APScheduler.
        schedule._scheduler.modify_job("a", next_run_time=datetime.now(UTC) + timedelta(hours=1))
        await until(lambda: len(turns) >= 3)
        await schedule.stop(0.1)

    asyncio.run(scenario())
    assert any("clock moved" in record.message for record in caplog.records)


def test_overdue_is_of_the_monotonic_clock_and_not_while_a_turn_runs():
    async def scenario():
        async def turn():
            assert not job.overdue(job.began_at + 100)

        job = Job("a", turn, lambda: 2.0)
        await job.run()
        assert not job.overdue(job.began_at + 3.9)
        assert job.overdue(job.began_at + 4.1)

    asyncio.run(scenario())
