"""The routes of /storage/v1, and what they share while the service is served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg.conninfo import conninfo_to_dict
from starlette.routing import Route

from functions._platform.storage import (
    buckets,
    download,
    listing,
    objects,
    render,
    resumable,
    signing,
    upload,
)
from functions._platform.storage.context import Storage
from functions._platform.storage.earlier_files import adopt_all
from functions._platform.storage.errors import HANDLERS, internal_error
from functions._platform.storage.schedule import EVERY_S, FIRST_S, queue_janitor
from functions._shared.database.periodic import periodically
from functions._shared.database.pool import make_pool
from functions._shared.files.open_driver import folder_of, open_driver
from functions._shared.resources import Resources
from functions._shared.web.function_app import function_app


@asynccontextmanager
async def open_storage(resources: Resources) -> AsyncIterator[Storage]:
    settings, supervisor = resources.settings, resources.supervisor
    # A pool of its own (bulkhead): uploads must not starve the queue of connections.
    pool = make_pool(settings, min_size=0)
    await pool.open(wait=False)
    folder = folder_of(settings)
    renderer = render.Renderer(settings, folder)
    login = str(conninfo_to_dict(settings.supabase_db_url.get_secret_value()).get("user", ""))
    storage = Storage(settings, pool, open_driver(settings), folder, renderer, login)
    try:
        async with (
            supervisor.running("earlier files", lambda: adopt_all(storage)),
            periodically(supervisor, pool, queue_janitor, EVERY_S, first_s=FIRST_S),
        ):
            yield storage
    finally:
        renderer.close()
        await pool.close()


KEY = "{bucket}/{path:path}"
ROUTES = [
    Route("/bucket", buckets.create, methods=["POST"]),
    Route("/bucket", buckets.every, methods=["GET"]),
    Route("/bucket/{bucket}", buckets.one, methods=["GET"]),
    Route("/bucket/{bucket}", buckets.update, methods=["PUT"]),
    Route("/bucket/{bucket}", buckets.delete, methods=["DELETE"]),
    Route("/bucket/{bucket}/empty", buckets.empty, methods=["POST"]),
    Route(f"/render/image/public/{KEY}", render.render_public, methods=["GET"]),
    Route(f"/render/image/authenticated/{KEY}", render.render_authenticated, methods=["GET"]),
    Route(f"/render/image/sign/{KEY}", render.render_signed, methods=["GET"]),
    *(
        route
        for base in ("/upload/resumable", "/upload/resumable/sign")
        for route in (
            Route(base, resumable.create, methods=["POST"]),
            Route(f"{base}/", resumable.create, methods=["POST"]),
            Route(base, resumable.options, methods=["OPTIONS"]),
            Route(f"{base}/{{id:path}}", resumable.options, methods=["OPTIONS"]),
            Route(f"{base}/{{id}}", resumable.head, methods=["HEAD"]),
            Route(f"{base}/{{id}}", resumable.append, methods=["PATCH"]),
            Route(f"{base}/{{id}}", resumable.terminate, methods=["DELETE"]),
        )
    ),
    Route(f"/object/public/{KEY}", download.public, methods=["GET"]),
    Route(f"/object/authenticated/{KEY}", download.authenticated, methods=["GET"]),
    Route(f"/object/info/public/{KEY}", download.public_info, methods=["GET"]),
    Route(f"/object/info/authenticated/{KEY}", download.info, methods=["GET"]),
    Route(f"/object/info/{KEY}", download.plain_info, methods=["GET"]),
    Route(f"/object/sign/{KEY}", download.signed, methods=["GET"]),
    Route(f"/object/sign/{KEY}", signing.sign, methods=["POST"]),
    Route("/object/sign/{bucket}", signing.sign_many, methods=["POST"]),
    Route(f"/object/upload/sign/{KEY}", upload.sign_upload, methods=["POST"]),
    Route(f"/object/upload/sign/{KEY}", upload.upload_signed, methods=["PUT"]),
    Route("/object/list/{bucket}", listing.list_v1, methods=["POST"]),
    Route("/object/list-v2/{bucket}", listing.list_v2, methods=["POST"]),
    Route("/object/copy", objects.copy, methods=["POST"]),
    Route("/object/move", objects.move, methods=["POST"]),
    Route("/object/{bucket}", objects.remove_many, methods=["DELETE"]),
    Route(f"/object/{KEY}", upload.upload, methods=["POST", "PUT"]),
    Route(f"/object/{KEY}", download.plain, methods=["GET"]),
    Route(f"/object/{KEY}", objects.remove, methods=["DELETE"]),
]

app = function_app(
    ROUTES,
    handlers={**HANDLERS, resumable.TusError: resumable.on_tus_error},
    bug=internal_error,
)
