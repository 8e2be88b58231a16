"""How often a sharpening map is shown."""

from __future__ import annotations

from itertools import pairwise

import pytest

from iscam.ui.done import previews
from iscam.ui.done.previews import Previews


@pytest.mark.parametrize(("making", "showing"), [(0.001, 0.002), (0.01, 0.03), (0.2, 0.4), (0.0, 1.0)])
def test_previews_cost_a_fortieth_of_the_time_at_most(
    making: float, showing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever one costs the two processes, to make and to show, beside what it costs the browser; the first comes soon, and
    none sooner than anybody can see."""
    monkeypatch.undo()  # what all tests of the page set
    now, times = 0.0, []
    paced = Previews(lambda: now)
    while len(times) < 10:
        now += 0.01
        if paced.due():
            times.append(now)
            paced.begin()
            now += making
            paced.made()
            assert not paced.due()
            paced.rendered(showing)
    assert times[0] < 0.15
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= previews.SHORTEST - 1e-9
    assert (making + showing) * len(gaps) <= 0.025 * sum(gaps) + 1e-9
    assert max(gaps) <= max(previews.SHORTEST, 40 * (making + showing)) + making + 0.011


def test_where_nobody_looks_one_preview_is_enough() -> None:
    now = 0.0
    paced = Previews(lambda: now)
    now = 5.0
    assert paced.due()
    paced.begin()
    paced.made()
    now = 500.0
    assert not paced.due()
    paced.rendered(0.01)
    assert paced.due()


def test_every_page_that_shows_a_preview_costs() -> None:
    now = 0.0
    paced = Previews(lambda: now)
    paced.begin()
    for _ in range(3):
        paced.rendered(1.0)
    now = 2.9 / previews.SHARE
    assert not paced.due()
    now = 3.1 / previews.SHARE
    assert paced.due()
