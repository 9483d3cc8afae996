"""The body of process-jobs."""

from pydantic import BaseModel, ConfigDict


class ProcessJobsRequest(BaseModel):
    """``wait`` false: wake the worker and answer at once, as pg_net cuts cron's call off after five seconds."""

    model_config = ConfigDict(strict=True, extra="ignore")

    wait: bool = True
