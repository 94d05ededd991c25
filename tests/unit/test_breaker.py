"""When a destination is left alone, and for how long."""

from adapter.domain.breaker import FRUITLESS_MAX, Breaker, BreakerState


def breaker(draw=0.0):
    return Breaker(retry_delay_s=60.0, draw=lambda: draw)


def test_outage_opens_it_for_a_pause_that_doubles():
    one, now, pauses = breaker(), 0.0, []
    for _ in range(7):
        assert one.unreached("refused", now)
        pauses.append(one.again_at - now)
        now = one.again_at
        one.probed()
        assert one.state is BreakerState.HALF_OPEN
    assert pauses == [60, 120, 240, 480, 900, 900, 900]
    assert (one.why, one.down_since) == ("refused", 0.0)


def test_pause_varies_so_that_what_failed_together_does_not_return_together():
    early, late = breaker(0.0), breaker(0.99)
    early.unreached("refused", 0.0)
    late.unreached("refused", 0.0)
    assert 60 == early.again_at < late.again_at < 67


def test_associations_that_fail_together_are_one_outage():
    one = breaker()
    assert one.unreached("refused", 0.0)
    assert not one.unreached("refused", 1.0)
    assert (one.tries, one.again_at) == (1, 60.0)


def test_answer_to_a_probe_alone_does_not_shorten_the_next_pause():
    one = breaker()
    one.unreached("refused", 0.0)
    one.probed()
    one.unreached("it accepts and hangs", 60.0)
    assert one.again_at == 60.0 + 120.0


def test_answer_for_an_instance_closes_it():
    one = breaker()
    one.unreached("refused", 0.0)
    one.probed()
    one.answered()
    assert (one.state, one.why, one.down_for(99.0)) == (BreakerState.CLOSED, "", 0.0)
    one.unreached("refused", 1000.0)
    assert one.again_at == 1060.0


def test_several_associations_in_a_row_without_an_answer_are_an_outage():
    one = breaker()
    opened = [one.lost("timeout", f"{n}.dcm", 0.0) for n in range(FRUITLESS_MAX)]
    assert opened == [False] * (FRUITLESS_MAX - 1) + [True]
    assert one.state is BreakerState.OPEN


def test_answer_between_them_starts_the_count_again():
    one = breaker()
    for n in range(5 * FRUITLESS_MAX):
        assert not one.lost("timeout", f"{n}.dcm", 0.0)
        one.answered()


def test_instance_that_breaks_every_association_is_no_outage():
    one = breaker()
    for _ in range(5 * FRUITLESS_MAX):
        assert not one.lost("aborted", "bad.dcm", 0.0)
    assert one.state is BreakerState.CLOSED


def test_instance_that_broke_one_before_makes_no_pause_longer():
    one = breaker()
    for n in range(FRUITLESS_MAX):
        one.lost("aborted", f"{n}.dcm", 0.0)
    one.probed()
    assert not one.lost("aborted", "0.dcm", 60.0)
    assert (one.state, one.tries) == (BreakerState.HALF_OPEN, 1)
    assert one.lost("timeout", "another.dcm", 60.0)
    assert (one.state, one.again_at) == (BreakerState.OPEN, 60.0 + 120.0)


def test_one_loss_is_enough_while_it_is_being_tried():
    one = breaker()
    one.unreached("refused", 0.0)
    one.probed()
    assert one.lost("timeout", "0.dcm", 60.0)
    assert one.state is BreakerState.OPEN
    assert one.down_for(60.0) == 60.0
