"""Each page in a real Chromium: screenshots at desktop and phone width, axe-core, no complaint of the browser's."""

import pytest

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP, PHONE, generation_id, job_id

pytestmark = IN_CHROMIUM

PAGES = {
    "overview": "",
    "overview-30d": "?span=30d",
    "generations": "/generations",
    "generation": f"/generations/{generation_id(30)}",
    "generation-failed": f"/generations/{generation_id(12)}",
    "jobs": "/jobs",
    "jobs-failed": "/jobs?status=failed",
    "job-waiting": f"/jobs/{job_id(3)}",
    "job-failed": f"/jobs/{job_id(12)}",
    "failures": "/failures",
    "workers": "/workers",
    "clock": "/clock",
    "log": "/log",
}


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(DESKTOP, "light"), (PHONE, "dark")],
    ids=["desktop", "phone"],
)
def test_every_page(seeded, operator, viewport, scheme):
    visitor = operator(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    for name, path in PAGES.items():
        visitor.go(path).check(f"{name}-{scheme}")
