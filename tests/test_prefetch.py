"""Work done ahead: the same results in the same order, not too far ahead, and errors where they belong."""

import threading
import time

import pytest

from afield.prefetch import prefetch


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("depth", [0, 1, 9])
def test_it_is_map_whoever_is_done_first(threads, depth):
    def slow_when_even(i):
        time.sleep(0.002 * (i % 2 == 0))
        return i * i

    assert list(prefetch(slow_when_even, range(20), depth=depth, threads=threads)) == [i * i for i in range(20)]
    assert list(prefetch(abs, [], depth=depth, threads=threads)) == []


def test_one_thread_takes_one_item_after_the_other():
    at_work, most = [], []

    def work(i):
        at_work.append(i)
        most.append(len(at_work))
        time.sleep(0.001)
        at_work.remove(i)

    list(prefetch(work, range(10), depth=5))
    assert max(most) == 1


def test_no_more_than_depth_and_one_are_made_before_they_are_asked_for():
    made = []

    def made_after_a_while(count):
        deadline = time.monotonic() + 20
        while len(made) < count and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        return made

    results = prefetch(made.append, range(100), depth=3)
    next(results)
    assert made_after_a_while(4) == [0, 1, 2, 3]
    next(results)
    assert made_after_a_while(5) == [0, 1, 2, 3, 4]
    results.close()
    assert made == [0, 1, 2, 3, 4]


def test_an_error_comes_where_its_result_would_have_and_no_thread_is_left():
    before = threading.active_count()
    results = prefetch(lambda i: 6 // (3 - i), range(9), depth=4)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before
