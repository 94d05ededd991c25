"""Asking and hinting."""

import pytest
import trio

from adapter.channels import answer, ask, first_failure, notify, wait_woken
from adapter.domain.messages import Wake


def wakes():
    return trio.open_memory_channel[Wake](1)


async def test_hint_is_kept_until_it_is_looked_at():
    wake, woken = wakes()
    notify(wake)
    notify(wake)
    assert woken.receive_nowait() is Wake.LOOK_AGAIN
    with pytest.raises(trio.WouldBlock):
        woken.receive_nowait()


async def test_hint_to_one_that_has_gone_is_lost_harmlessly():
    wake, woken = wakes()
    woken.close()
    notify(wake)
    wake.close()
    notify(wake)


async def test_waiting_ends_with_a_hint(autojump_clock):
    wake, woken = wakes()
    notify(wake)
    await wait_woken(woken, trio.current_time() + 5)
    assert trio.current_time() == 0


async def test_waiting_ends_at_the_deadline(autojump_clock):
    _wake, woken = wakes()
    await wait_woken(woken, trio.current_time() + 5)
    assert trio.current_time() == 5


async def test_end_of_all_senders_is_told(autojump_clock):
    wake, woken = wakes()
    wake.close()
    with pytest.raises(trio.EndOfChannel):
        await wait_woken(woken, trio.current_time() + 5)


async def test_question_is_answered(autojump_clock):
    questions_in, questions = trio.open_memory_channel(0)

    async def answering():
        text, reply = await questions.receive()
        with reply:
            answer(reply, text.upper())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answering)
        assert await ask(questions_in, lambda reply: ("word", reply), 5.0) == "WORD"
    assert trio.current_time() == 0


async def test_nobody_takes_the_question_in_time(autojump_clock):
    questions_in, _questions = trio.open_memory_channel(0)
    with pytest.raises(trio.TooSlowError):
        await ask(questions_in, lambda reply: reply, 5.0)
    assert trio.current_time() == 5


async def test_answer_comes_too_late(autojump_clock):
    questions_in, questions = trio.open_memory_channel(0)
    held = []

    async def holding():
        held.append(await questions.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(holding)
        with pytest.raises(trio.TooSlowError):
            await ask(questions_in, lambda reply: reply, 5.0)
    answer(held[0], "late")  # nobody is there to hear it, and nothing is raised


async def test_crash_of_the_asked_is_an_end_not_silence(autojump_clock):
    questions_in, questions = trio.open_memory_channel(0)

    async def crashing():
        (await questions.receive()).close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crashing)
        with pytest.raises(trio.EndOfChannel):
            await ask(questions_in, lambda reply: reply, 5.0)
    assert trio.current_time() == 0


async def test_asked_that_has_gone_is_told_at_once(autojump_clock):
    questions_in, questions = trio.open_memory_channel(0)
    questions.close()
    with pytest.raises(trio.BrokenResourceError):
        await ask(questions_in, lambda reply: reply, 5.0)
    assert trio.current_time() == 0


async def test_calls_are_made_so_many_at_once_until_all_are_done(autojump_clock):
    running = most = 0
    done = []

    async def call(item):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        done.append(item)

    assert await first_failure(range(7), 3, call) is None
    assert (sorted(done), most, trio.current_time()) == ([*range(7)], 3, 3.0)
    assert await first_failure([], 3, call) is None


async def test_first_failure_ends_the_other_calls(autojump_clock):
    trouble, begun = ValueError("two"), []

    async def call(item):
        begun.append(item)
        await trio.sleep(item)
        return trouble if item == 2 else None

    assert await first_failure([1, 2, 9, 9, 9], 3, call) is trouble
    assert trio.current_time() == 2.0
    assert begun == [1, 2, 9, 9]
