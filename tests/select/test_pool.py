from __future__ import annotations

import numpy as np

from shoestring.select import Pool, Signals


def test_signals_are_computed_once_for_a_pool_and_all_its_parts(images):
    calls = []

    def compute() -> Signals:
        calls.append(1)
        count = len(images)
        rows = np.arange(count)
        return Signals(rows[:, None].astype(np.float32), rows, rows % 2 == 0, rows / 2, rows / 4)

    pool = Pool(images, compute)
    part = pool.part(np.array([5, 3, 8])).part(np.array([2, 0]))
    assert not calls
    assert part.forgotten.tolist() == [8, 5]
    assert part.features[:, 0].tolist() == [8.0, 5.0]
    assert part.learnt.tolist() == [True, False]
    assert part.margin.tolist() == [4.0, 2.5] and part.final_margin.tolist() == [2.0, 1.25]
    assert pool.forgotten.tolist() == list(range(60))
    assert calls == [1]
    assert (len(pool), len(part)) == (60, 2)
    assert np.array_equal(part.labels, images.targets[[8, 5]])
    assert np.array_equal(part.pixels, images.pixels[[8, 5]])
