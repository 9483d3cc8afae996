"""An app's day with supabase-py, sync or async: the steps of day.mjs, and the same report."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from postgrest import APIError, CountMethod
from supabase_auth.errors import AuthApiError

FOX = {
    "prompt": "a fox",
    "model_id": "black-forest-labs/flux-schnell",
    "width": 256,
    "height": 256,
}
PASSWORD = "correct horse battery"
TERMINAL = ("completed", "failed", "cancelled")


async def now(answer: Any) -> Any:
    """The answer of the sync client, or of the async client's awaitable."""
    return await answer if inspect.isawaitable(answer) else answer


async def refusal(call: Callable[..., Any], *arguments: Any) -> list[Any]:
    with pytest.raises(AuthApiError) as refused:
        await now(call(*arguments))
    return [refused.value.status, refused.value.message]


async def api_error(query: Any) -> APIError:
    with pytest.raises(APIError) as refused:
        await now(query.execute())
    return refused.value


def address() -> str:
    return f"{uuid4()}@example.com"


async def day(connect: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """Go through the day with clients that ``connect`` makes."""
    told: dict[str, Any] = {}
    app, email = await connect(), address()
    account = {"email": email, "password": PASSWORD}
    signed_up = await now(app.auth.sign_up({**account, "options": {"data": {"name": "Ada"}}}))
    told["signed_up"] = [signed_up.user.user_metadata["name"], signed_up.session.token_type]
    told["again"] = await refusal((await connect()).auth.sign_up, account)
    await now(app.auth.sign_out())
    told["wrong"] = await refusal(app.auth.sign_in_with_password, {**account, "password": "wrong"})
    signed_in = await now(app.auth.sign_in_with_password(account))
    me = (await now(app.auth.get_user())).user
    told["same_user"] = signed_in.user.id == signed_up.user.id and me.email == email

    async def rows(query: Any) -> Any:
        return (await now(query.execute())).data

    async def ended(generation_id: str) -> Any:
        while True:
            one = app.table("image_generations").select("*, images(*)").eq("id", generation_id)
            row = await rows(one.single())
            if row["status"] in TERMINAL:
                return row
            await asyncio.sleep(0.02)

    made = []
    for prompt in ("a fox", "an owl", "a hare"):
        body = {"body": {**FOX, "prompt": prompt}, "responseType": "json"}
        started = await now(app.functions.invoke("start-generation", body))
        made.append(await ended(started["generation_id"]))
    fox = made[0]
    async with httpx.AsyncClient() as http:
        picture = await http.get(fox["images"][0]["public_url"])
    told["picture"] = [fox["status"], len(fox["images"]), picture.headers["content-type"]]

    async def page(first: int, last: int) -> list[Any]:
        counted = app.table("image_generations").select("prompt", count=CountMethod.exact)
        listed = await now(counted.order("created_at", desc=True).range(first, last).execute())
        return [listed.count, [row["prompt"] for row in listed.data]]

    told["first_page"], told["second_page"] = await page(0, 1), await page(2, 3)
    head = app.table("image_generations").select("*", count=CountMethod.exact, head=True)
    told["counted"] = (await now(head.execute())).count
    some = app.table("image_generations").select("prompt").ilike("prompt", "%o%")
    some = some.in_("status", ["completed"]).not_.eq("prompt", "an owl")
    told["filtered"] = [row["prompt"] for row in await rows(some)]

    def whale() -> Any:
        return app.table("image_generations").select("*").eq("prompt", "a whale")

    told["none"] = await now(whale().maybe_single().execute())
    missing = await api_error(whale().single())
    told["not_one"] = [missing.code, missing.details]
    embedding = app.table("images").select("format, image_generations!inner(prompt)")
    told["embedded"] = await rows(embedding.eq("image_generations.prompt", "an owl"))

    bear = {"user_id": signed_in.user.id, "prompt": "a bear"}
    [inserted] = await rows(app.table("image_generations").insert(bear))
    told["inserted"] = {name: inserted[name] for name in ("prompt", "status")}
    forgery = app.table("image_generations").insert({**bear, "user_id": str(uuid4())})
    told["forged"] = (await api_error(forgery)).code
    job_id = await rows(app.rpc("enqueue_job", {"p_job_type": "generate-image", "p_payload": FOX}))
    job = await rows(
        app.table("job_queue").select("job_type, created_by").eq("id", job_id).single()
    )
    told["job"] = [job["job_type"], job["created_by"] == signed_in.user.id]

    await now(app.auth.update_user({"data": {"name": "Grace", "theme": "dark"}}))
    profile = (await now(app.auth.get_user())).user.user_metadata
    told["profile"] = [profile["name"], profile["theme"]]
    refreshed = (await now(app.auth.refresh_session())).session
    renewed = refreshed.refresh_token != signed_in.session.refresh_token
    told["refreshed"] = renewed and (await page(0, 0))[0] == 5

    other = await connect()
    await now(other.auth.sign_up({"email": address(), "password": PASSWORD}))
    hidden = other.table("image_generations").select("*").eq("id", fox["id"]).single()
    told["other"] = [
        await rows(other.table("image_generations").select("*")),
        await rows(other.table("images").select("*")),
        (await api_error(hidden)).code,
        await rows(other.table("job_queue").update({"status": "cancelled"}).eq("id", job_id)),
    ]
    anon = await connect()
    told["anon"] = (await api_error(anon.table("image_generations").select("*"))).code
    told["models"] = len(await rows(anon.table("models").select("name").limit(1)))

    await now(app.auth.sign_out())
    told["signed_out"] = [
        await now(app.auth.get_session()),
        await refusal((await connect()).auth.refresh_session, refreshed.refresh_token),
    ]
    return told
