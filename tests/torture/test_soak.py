"""The short form of the soak of ``make torture``."""

from __future__ import annotations

import pytest

from tests.e2e.browsing import CHROMIUM
from tests.torture.soak import soak

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]


def test_readers_and_uploads_meet_no_error_and_memory_stays() -> None:
    pytest.importorskip("streamlit", reason="needs streamlit: pip install 'tushuo[app]'")
    report = soak(n_loads=16, n_uploads=3, n_sessions=2, n_pictures=60, warm_up=12)
    assert report.problems == []
    assert (report.loads, report.uploads) == (16, 3)
    assert report.growth < 0.1
