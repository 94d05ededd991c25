"""What is said once in a while."""

from adapter.domain.repetition import Repetition


def test_the_same_is_news_again_after_a_while() -> None:
    said = Repetition(60.0, 10)
    assert [said.is_news("a", now) for now in (0.0, 1.0, 59.9, 60.0, 61.0, 120.0)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip


def test_others_are_news_of_their_own() -> None:
    said = Repetition(60.0, 10)
    assert [said.is_news(key, 0.0) for key in ("a", "b", "a", "b")] == [True, True, False, False]


def test_what_is_remembered_is_bounded() -> None:
    said = Repetition(60.0, 2)
    assert [said.is_news(key, 0.0) for key in ("a", "b", "c", "b", "a")] == [
        True, True, True, False, True,
    ]  # fmt: skip
