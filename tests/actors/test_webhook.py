"""A webhook on virtual time: order, pauses, giving up, what it missed, a stop."""

from contextlib import asynccontextmanager
from itertools import pairwise

import msgspec
import pytest
import trio
import trio.testing
from actor_ports import running, wall
from test_hub import Stage

from adapter.actors.hub import FEED_MAX
from adapter.actors.webhook import RETRY_S_MAX, WebhookActor
from adapter.domain.webhooks import Hook, Webhook
from adapter.errors import UnavailableError
from adapter.supervision import REPLICA, supervise


class Client:
    """A server that answers as it is told; then 200."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.posts = []
        """Time, id and messages of each."""
        self.is_hung = trio.Event()
        self.is_closed = False

    async def post(self, identity, timestamp, body):
        self.posts.append((trio.current_time(), identity, msgspec.json.decode(body)))
        answer = self.answers.pop(0) if self.answers else 200
        if answer == "hang":
            self.is_hung.set()
            await trio.sleep_forever()
        if isinstance(answer, str):
            raise UnavailableError(answer)
        return answer

    async def close(self):
        self.is_closed = True

    def numbers(self):
        return [message["seq"] for _, _, messages in self.posts for message in messages]


@asynccontextmanager
async def telling(client, **keys):
    """Run a hub with a webhook; yield stage, webhook, and what stops it."""
    stage, stop = Stage(), trio.Event()
    settings = Webhook(name="ris", url="https://ris/hook", secret_file="/secret", **keys)
    actor = WebhookActor(
        hook=Hook(settings, client), subscriptions=stage.subscriptions_in.clone(), now=wall,
        stop=stop,
    )  # fmt: skip
    async with running(stage.hub), trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        yield stage, actor, stop
        nursery.cancel_scope.cancel()
    actor.close()


async def test_events_that_come_together_share_a_delivery(autojump_clock):
    client = Client()
    async with telling(client) as (stage, actor, _):
        stage.tell(3)
        await trio.sleep(1)
        stage.tell(2)
        await trio.sleep(1)
    assert [len(messages) for _, _, messages in client.posts] == [3, 2]
    assert client.numbers() == [1, 2, 3, 4, 5]
    assert actor.hook.figures.delivered == 2


async def test_same_delivery_is_tried_later_and_later(autojump_clock):
    client = Client(500, "no connection", 503, 429)
    async with telling(client) as (stage, actor, _):
        stage.tell()
        await trio.sleep(60)
    times = [at for at, _, _ in client.posts]
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses == pytest.approx([1, 2, 4, 8])
    assert len({identity for _, identity, _ in client.posts}) == 1
    assert (actor.hook.figures.retried, actor.hook.figures.outage) == (4, "")


async def test_pauses_have_an_end_and_so_have_tries(autojump_clock):
    client = Client(*["no connection"] * 13)
    async with telling(client, max_retries=12) as (stage, actor, _):
        stage.tell()
        await trio.sleep(24 * 3600)
        assert actor.hook.figures.given_up == 1
        assert actor.hook.figures.outage == "no connection"
        stage.tell()
        await trio.sleep(1)
        assert actor.hook.figures.outage == ""
    times = [at for at, _, _ in client.posts[:13]]
    assert max(later - sooner for sooner, later in pairwise(times)) == pytest.approx(RETRY_S_MAX)
    assert client.numbers()[-1] == 2


async def test_refusal_is_not_tried_again(autojump_clock):
    client = Client(404)
    async with telling(client) as (stage, actor, _):
        stage.tell()
        await trio.sleep(60)
        stage.tell()
        await trio.sleep(60)
    assert client.numbers() == [1, 2]
    assert (actor.hook.figures.given_up, actor.hook.figures.retried) == (1, 0)


async def test_server_that_was_away_too_long_is_told_what_it_missed(autojump_clock):
    client = Client("no connection")
    async with telling(client) as (stage, _, _stop):
        stage.tell()
        await trio.sleep(0.5)  # it waits for its second try
        stage.tell(FEED_MAX + 10)
        await trio.sleep(60)
        stage.tell()
        await trio.sleep(60)
    told = [message for _, _, messages in client.posts for message in messages]
    gap = next(message for message in told if message["type"] == "gap")
    numbers = {m["seq"] for m in told if m["type"] != "gap"} | set(
        range(gap["from"], gap["to"] + 1)
    )
    assert numbers == set(range(1, FEED_MAX + 13))


async def test_crash_resumes_where_it_was(autojump_clock):
    class Crashing(Client):
        async def post(self, identity, timestamp, body):
            if len(self.posts) == 1:
                self.posts.append((trio.current_time(), "", []))
                raise RuntimeError("a bug")
            return await super().post(identity, timestamp, body)

    client, stage = Crashing(), Stage()
    settings = Webhook(name="ris", url="https://ris/hook", secret_file="/secret")
    actor = WebhookActor(hook=Hook(settings, client), now=wall, stop=trio.Event(),
                         subscriptions=stage.subscriptions_in.clone())  # fmt: skip
    async with running(stage.hub), trio.open_nursery() as nursery:
        await nursery.start(supervise, actor, REPLICA, stage.publish)
        stage.tell()
        await trio.sleep(1)
        stage.tell()  # crashes with this one in hand
        await trio.sleep(10)
        stage.tell()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    numbers = client.numbers()
    assert len(numbers) >= 3
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_stop_waits_a_little_and_for_nobody(autojump_clock):
    client = Client("hang")
    async with telling(client) as (stage, _, stop):
        stage.tell()
        await client.is_hung.wait()
        begun = trio.current_time()
        stop.set()
        while stage.hub._subscribers and trio.current_time() - begun < 60:
            await trio.sleep(0.5)
            stage.tell()
        assert trio.current_time() - begun < 5
