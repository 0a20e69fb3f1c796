"""The queue: what is within its bounds is served in turn, what is beyond them is refused at once."""

from __future__ import annotations

import asyncio

import pytest

from iaa_retrieval.serving.search_queue import QueueFull, SearchQueue


async def hold(queue: SearchQueue, end: asyncio.Event, served: list[int], number: int) -> str:
    try:
        async with queue.place():
            served.append(number)
            await end.wait()
        return "served"
    except QueueFull as error:
        return str(error)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_fixed_number_run_a_fixed_number_wait_and_the_others_are_refused() -> None:
    async def story() -> None:
        queue, end, served = SearchQueue(2, 3, timeout=600), asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(hold(queue, end, served, number)) for number in range(8)]
        await settle()
        assert (queue.running, queue.waiting, served) == (2, 3, [0, 1])
        assert [task.done() for task in tasks] == [False] * 5 + [True] * 3
        end.set()
        answers = await asyncio.gather(*tasks)
        assert answers[:5] == ["served"] * 5
        assert answers[5:] == ["2 searches are running and 3 waiting; try again later"] * 3
        assert served == [0, 1, 2, 3, 4]
        assert (queue.running, queue.waiting) == (0, 0)

    asyncio.run(story())


def test_what_waited_too_long_is_refused_and_its_place_is_free_again() -> None:
    async def story() -> None:
        queue, end, served = SearchQueue(1, 1, timeout=0.01), asyncio.Event(), list[int]()
        first = asyncio.create_task(hold(queue, end, served, 0))
        await settle()
        assert await hold(queue, end, served, 1) == "no search could be started in 0.01 seconds; try again later"
        assert (queue.running, queue.waiting) == (1, 0)
        end.set()
        assert await first == "served"
        assert await hold(queue, end, served, 2) == "served"

    asyncio.run(story())


def test_without_a_queue_nothing_waits() -> None:
    async def story() -> None:
        queue, end, served = SearchQueue(1, 0, timeout=600), asyncio.Event(), list[int]()
        first = asyncio.create_task(hold(queue, end, served, 0))
        await settle()
        assert "1 searches are running" in await hold(queue, end, served, 1)
        end.set()
        assert await first == "served"

    asyncio.run(story())


def test_who_is_cancelled_or_fails_gives_the_place_back() -> None:
    async def story() -> None:
        queue, never, served = SearchQueue(1, 1, timeout=600), asyncio.Event(), list[int]()
        running = asyncio.create_task(hold(queue, never, served, 0))
        waiting = asyncio.create_task(hold(queue, never, served, 1))
        await settle()
        for task in (waiting, running):
            task.cancel()
        await settle()
        assert (queue.running, queue.waiting) == (0, 0)
        with pytest.raises(ZeroDivisionError):
            async with queue.place():
                raise ZeroDivisionError
        async with queue.place():
            assert queue.running == 1

    asyncio.run(story())
