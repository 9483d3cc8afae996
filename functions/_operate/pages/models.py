"""Models: what each is used for and costs, switching one off, and a playground that sends a prompt.

GET  /operate/models
POST /operate/models           model=… do=on or off: set_model_active
POST /operate/models/try       model=… prompt=…: a picture for the operator, on to its page
"""

from uuid import NAMESPACE_URL, UUID, uuid5

from psycopg.types.json import Jsonb
from starlette.responses import Response

from functions._operate.visit import Visit
from functions._shared.errors import InvalidRequest
from functions._shared.generation import GenerationRequest
from functions._shared.resources import resources_of
from functions._shared.web.bodies import validate
from functions.process_generation.inputs import check_buildable

HOURS = 24
NEWEST = 20_000
"""Lines of the ledger that are added up: bounds the page, whatever a day brings."""
SHOWN = 300

MODELS = """
with used as (
    select
        model,
        count(*) as predictions,
        count(*) filter (where status = 'succeeded') as succeeded,
        count(*) filter (where status = 'failed') as failed,
        percentile_cont(0.5) within group (order by seconds) filter (where status = 'succeeded') as seconds,
        sum(usd - refunded_usd) as usd
    from (
        select model, status, seconds, usd, refunded_usd from public.spend
        where at > now() - make_interval(hours => %(hours)s) order by at desc limit %(newest)s
    ) as newest
    group by model
)
select
    coalesce(models.replicate_id, used.model) as id,
    models.name,
    models.is_active,
    models.retired_reason,
    models.typical_seconds,
    coalesce(used.predictions, 0) as predictions,
    used.succeeded,
    used.failed,
    used.seconds,
    used.usd,
    (
        select usd_per_picture from public.model_prices as prices
        where prices.model = coalesce(models.replicate_id, used.model)
            and prices.valid_from <= (now() at time zone 'UTC')::date
        order by prices.valid_from desc limit 1
    ) as price
from public.models
full join used on used.model = models.replicate_id
order by used.predictions desc nulls last, models.name, id
limit %(shown)s
"""


async def models(visit: Visit) -> Response:
    async with visit.reading() as reader:
        asked = {"hours": HOURS, "newest": NEWEST, "shown": SHOWN}
        found = await reader.rows(MODELS, asked)
    return visit.show(
        "models.html",
        {
            "models": found,
            "hours": HOURS,
            "newest": NEWEST,
            "is_cut": sum(row["predictions"] for row in found) >= NEWEST,
            "chosen": visit.asked("model"),
        },
    )


async def switch(visit: Visit) -> Response:
    do = visit.form.get("do")
    if do not in {"on", "off"}:
        raise InvalidRequest("do must be on or off")
    values = {"model": visit.form.get("model"), "on": do == "on"}
    done = await visit.act("select public.set_model_active(%(model)s, %(on)s)", values)
    return visit.done("/models", *done.said)


async def attempt(visit: Visit) -> Response:
    """Start a generation as start-generation does, by the same rules; its page shows it live."""
    resources = resources_of(visit.request)
    sent = {"prompt": visit.form.get("prompt"), "model_id": visit.form.get("model")}
    asked = validate(GenerationRequest, sent)
    model = await resources.models.resolve(asked.model_id, resources.pool)
    check_buildable(asked, model)
    wanted = asked.model_dump(exclude_none=True) | {"model_id": model.replicate_id}
    values = {"user": user_of_operator(visit.session.operator.name), "request": Jsonb(wanted)}
    done = await visit.act("select picture_edge.try_model(%(user)s, %(request)s)", values)
    return visit.go(f"/generations/{done.value}")


def user_of_operator(name: str) -> UUID:
    """The owner of an operator's pictures: nobody of auth, and always the same, so that quotas and spend show them."""
    return uuid5(NAMESPACE_URL, f"picture-edge:operator:{name}")
