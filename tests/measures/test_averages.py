"""Quotients and means where some numbers are undefined."""

import numpy as np

from zfjax.measures.averages import mean_of_known, quotient


def test_what_is_not_known_counts_nowhere():
    assert mean_of_known(np.array([1.0, np.nan, 4.0])) == 2.5
    assert np.isnan(mean_of_known(np.array([np.nan]))) and np.isnan(mean_of_known(np.zeros(0)))
    np.testing.assert_array_equal(
        quotient(np.array([3.0, 1.0, 1.0]), np.array([2.0, 0.0, -1.0])), [1.5, np.nan, np.nan]
    )
    assert quotient(np.array(3.0), np.array(4.0)) == 0.75
