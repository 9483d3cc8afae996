"""What the documentation shows, done."""

import re
import subprocess
import types
from pathlib import Path

import pytest

from functions.process_jobs import jobs
from tests.help import until

PROJECT = Path(__file__).parent.parent
ARCHITECTURE = (PROJECT / "docs" / "ARCHITECTURE.md").read_text()
GUIDE = (PROJECT / "docs" / "DEPLOYMENT_GUIDE.md").read_text()
OPERATORS = (PROJECT / "docs" / "QUICK_REFERENCE.md").read_text()
SQL = (PROJECT / "sql" / "README.md").read_text()


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
    until(db, "select count(*) from job_queue where status in ('pending', 'processing')", 0)
    status, result = outcome.split(" | ")
    shown = db.execute(look.replace("result", "result::text as result").encode()).fetchone()
    assert shown == {"status": status, "result": result}


def operators_statements() -> list[str]:
    [block] = re.findall(r"```sql\n(.*?)```", OPERATORS, re.DOTALL)
    return [part.strip() for part in block.split(";\n") if part.strip()]


@pytest.mark.parametrize("statement", operators_statements())
def test_an_operators_statement_works_as_it_is_written(clock, db, statement):
    request = '{"prompt": "a fox", "model_id": "a/b"}'
    made = db.execute(
        "select * from picture_edge.start_generation(gen_random_uuid(), %s)", (request,)
    ).fetchone()
    if "redrive" in statement:
        db.execute("update job_queue set status = 'failed'")
    db.execute(
        statement.replace("<job id>", str(made["job_id"]))
        .replace("<generation id>", str(made["generation_id"]))
        .replace("<user id>", "11111111-1111-4111-8111-111111111111")
        .replace("{…}", "{}")
    )


def test_every_function_table_and_view_is_listed(db):
    rows = db.execute(
        "with ours as (select oid from pg_namespace where nspname in ('public', 'picture_edge', 'edge_private'))"
        " select proname as name from pg_proc where pronamespace in (select oid from ours)"
        " union select relname from pg_class where relnamespace in (select oid from ours) and relkind in ('r', 'v')"
    )
    listed = set(re.findall(r"`(?:\w+\.)?(\w+)[`(]", SQL))
    assert {row["name"] for row in rows} - listed == set()


def test_the_deployment_guide_installs_the_project_itself():
    """The pinned packages alone do not start: the version is read from the project's own metadata."""
    [target] = re.findall(r"^    make (\.venv/\w+) ", GUIDE, re.MULTILINE)
    run = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--no-deps --no-build-isolation --editable ." in run.stdout
