"""Any method /functions/v1/process-jobs: the worker.

Caller  the service role, or anybody where NO_VERIFY_JWT names process-jobs (the cron line that sends no token)
Body    none, or {"wait": false} to answer at once
Does    claims up to MAX_PARALLEL_JOBS jobs, runs them in parallel and answers when they are done

The same worker also runs by itself in every gateway process, woken by each enqueue.
"""
