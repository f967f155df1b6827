"""Layers side by side: in order, each as it would be alone, and no error is lost."""

import threading

import pytest

from zfjax.measures import abreast


@pytest.mark.parametrize("cores", [1, 3, 64])
def test_results_come_in_order_and_few_at_a_time(cores, monkeypatch):
    monkeypatch.setattr(abreast, "usable_cores", lambda: cores)
    lock, now, most = threading.Lock(), [0], [0]

    def compute(item):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.002 * (item % 3))
        with lock:
            now[0] -= 1
        return item * item

    assert list(abreast.side_by_side(compute, range(17))) == [item**2 for item in range(17)]
    assert 1 <= most[0] <= min(cores, abreast.MOST)


def test_what_one_raises_is_raised():
    def compute(item):
        return 1 / item

    results = abreast.side_by_side(compute, [2, 1, 0, 4])
    assert next(results) == 0.5 and next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
