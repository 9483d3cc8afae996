"""The body of process-jobs."""

from pydantic import BaseModel, ConfigDict


class ProcessJobsRequest(BaseModel):
    """``wait`` false: wake the worker and answer at once, as a cron call's five seconds want it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    wait: bool = True
