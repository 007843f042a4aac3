import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

from exporter.schedule import WATCHDOG_SECONDS, Job, Lateness, Schedule


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


def test_a_loop_that_was_held_up_is_not_taken_for_a_clock_that_moved(caplog):
    async def scenario():
        turns: list[int] = []
        schedule = Schedule()

        async def turn():
            turns.append(1)

        schedule.every("a", turn, lambda: WATCHDOG_SECONDS * 0.4)
        schedule.start()
        # The next look of the watchdog is at 1.0, before the next turn at 1.2.
        await until(lambda: len(turns) == 3)
        # Both are due long since when the loop goes on.
        threading.Event().wait(WATCHDOG_SECONDS * 1.5)
        await until(lambda: len(turns) == 5)
        await schedule.stop(0.1)

    asyncio.run(scenario())
    assert [record.message for record in caplog.records] == []


def test_overdue_is_of_the_monotonic_clock_and_not_while_a_turn_runs():
    async def scenario():
        async def turn():
            assert not job.overdue(job.began_at + 100)

        job = Job("a", turn, lambda: 2.0, Lateness())
        await job.run()
        assert not job.overdue(job.began_at + 3.9)
        assert job.overdue(job.began_at + 4.1)

    asyncio.run(scenario())


def test_first_turns_wait_for_their_delay_less_whole_intervals():
    async def scenario():
        began: dict[str, float] = {}
        schedule = Schedule()
        start = asyncio.get_running_loop().time()

        def turn(name):
            async def run():
                began.setdefault(name, asyncio.get_running_loop().time() - start)

            return run

        for name, delay in (("now", 0.0), ("late", 0.3), ("wrapped", 60.1)):
            schedule.every(name, turn(name), lambda: 60.0, delay)
        schedule.start()
        await until(lambda: len(began) == 3)
        await schedule.stop(0.1)
        return began

    began = asyncio.run(scenario())
    assert sorted(began, key=began.__getitem__) == ["now", "wrapped", "late"]
    assert began["late"] >= 0.29


def test_a_job_that_is_removed_has_no_further_turn_and_its_name_is_free():
    async def scenario():
        old, new = [], []
        schedule = Schedule()

        async def first():
            old.append(1)

        async def second():
            new.append(1)

        schedule.every("a", first, lambda: 0.02)
        schedule.start()
        await until(lambda: len(old) >= 2)
        schedule.remove("a")
        schedule.remove("a")
        assert not schedule.has("a")
        count = len(old)
        schedule.every("a", second, lambda: 0.02)
        assert schedule.has("a")
        await until(lambda: len(new) >= 5)
        await schedule.stop(0.1)
        return len(old) - count

    assert asyncio.run(scenario()) <= 1


def test_a_turn_under_way_goes_on_when_its_job_is_removed_and_does_not_return():
    async def scenario():
        began, ended = [], []
        go = asyncio.Event()
        schedule = Schedule()

        async def turn():
            began.append(1)
            await go.wait()
            ended.append(1)

        # The interval changes with the turn: what is rescheduled then must be no job of another.
        schedule.every("a", turn, lambda: 0.02 + len(ended))
        schedule.start()
        await until(lambda: began)
        schedule.remove("a")
        go.set()
        await until(lambda: ended)
        await asyncio.sleep(0.1)
        await schedule.stop(0.1)
        return began

    assert asyncio.run(scenario()) == [1]


def test_a_shorter_interval_need_not_wait_for_the_longer_one():
    async def scenario():
        turns: list[float] = []
        interval = [3600.0]
        schedule = Schedule()

        async def turn():
            turns.append(1)

        schedule.every("a", turn, lambda: interval[0])
        schedule.start()
        await until(lambda: len(turns) == 1)
        interval[0] = 0.05
        schedule.reconsider()
        await until(lambda: len(turns) >= 3)
        await schedule.stop(0.1)

    asyncio.run(scenario())


def test_lateness_is_of_our_own_making_and_counted_by_its_size():
    async def scenario():
        schedule = Schedule()
        turns: list[int] = []

        async def turn():
            turns.append(1)
            if len(turns) == 1:
                return
            # Longer than the interval: the next turn waits for this one, which is nobody's delay.
            await asyncio.sleep(0.3)

        schedule.every("a", turn, lambda: 0.2)
        schedule.start()
        await until(lambda: len(turns) == 1)
        # What a loop that is busy elsewhere does to a turn.
        threading.Event().wait(0.5)
        await until(lambda: len(turns) == 4)
        await schedule.stop(0.1)
        return schedule.lateness

    lateness = asyncio.run(scenario())
    assert lateness.count == 1
    assert lateness.buckets[0.1] == 0
    assert lateness.buckets[10.0] == 1
    assert lateness.sum >= 0.25


def test_early_is_in_time():
    lateness = Lateness()
    for seconds in (-0.1, 0.0, 0.7):
        lateness.note(seconds)
    assert (lateness.count, lateness.sum) == (3, 0.7)
    assert lateness.buckets[0.005] == 2
    assert lateness.buckets[1.0] == 3


def test_a_job_is_missing_when_no_turn_began_for_long_even_if_one_hangs():
    async def scenario():
        schedule, hung = Schedule(), asyncio.Event()

        async def turn():
            hung.set()
            await asyncio.Event().wait()

        schedule.every("hung", turn, lambda: 2.0)
        schedule.start()
        await hung.wait()
        (job,) = schedule._jobs.values()
        began = job.began_at
        seen = (schedule.missing(), job.missing(began + 36.0), job.missing(began + 36.1))
        job.began_at = job.made_at = began - 36.1
        late = schedule.missing()
        await schedule.stop(0.0)
        return seen, late

    assert asyncio.run(scenario()) == (((), False, True), ("hung",))
