"""Progress of a running prediction, from its status and the progress bars that models print into their logs."""

import re

from functions._shared.provider.prediction import Prediction

MOST = 90
"""Percent of a drawn picture; the rest is downloading and storing it."""
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3})%")
_STEPS = re.compile(r"(?<![\d.])(\d{1,4})\s*/\s*(\d{1,4})(?![\d.])")


def how_far(prediction: Prediction) -> tuple[str, int]:
    """Stage (starting, drawing) and percent, 0 to MOST; 0 where the logs hold no progress bar."""
    if prediction.status in {"starting", "queued"}:
        return "starting", 0
    last = prediction.logs.rstrip().rpartition("\n")[2]
    last = last.rpartition("\r")[2]  # a carriage return redraws the bar in place
    if percent := _PERCENT.search(last):
        share = int(percent[1]) / 100
    elif steps := _STEPS.search(last):
        share = int(steps[1]) / max(1, int(steps[2]))
    else:
        share = 0.0
    return "drawing", round(MOST * min(1.0, share))
