"""What the documentation shows, done."""

import re
import types
from pathlib import Path

from functions.process_jobs import jobs

ARCHITECTURE = (Path(__file__).parent.parent / "docs" / "ARCHITECTURE.md").read_text()


def test_the_new_job_type_of_the_architecture_page_works(start_edge, db, monkeypatch):
    section = ARCHITECTURE.partition("\n## Add a job type\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    enqueue, look, outcome = re.search(
        r"^    (select .*;)\n    (select .*;)\s+-- (.*)$", section, re.MULTILINE
    ).groups()
    [line] = re.findall(r"`(\"[\w-]+\": \w+\.run),`", section)
    module = types.ModuleType("functions.process_jobs.jobs.prompt_length")
    exec(compile(code, "docs/ARCHITECTURE.md", "exec"), module.__dict__)  # noqa: S102
    table = eval(f"{{{line}}}", {"prompt_length": module})  # noqa: S307
    monkeypatch.setattr(jobs, "JOBS", {**jobs.JOBS, **table})
    start_edge()
    db.execute(enqueue.encode())
    while db.execute(look.encode()).fetchone()["status"] in {"pending", "processing"}:
        pass
    status, result = outcome.split(" | ")
    shown = db.execute(look.replace("result", "result::text as result").encode()).fetchone()
    assert shown == {"status": status, "result": result}
