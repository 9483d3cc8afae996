"""A fake Supabase Storage for chaos and bench: counts uploads by path, discards them, fails on demand."""

import random
from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Bucket:
    """The fake; ``app`` serves its upload route, ``seed`` makes its failures reproducible."""

    def __init__(self, seed: int) -> None:
        self.stored: Counter[str] = Counter()
        self.failing = False
        """Whether a third of the uploads fail before they are stored, and another third after (lost response)."""
        self._random = random.Random(seed)  # noqa: S311 - reproducible
        self.app = Starlette(
            routes=[
                Route(
                    "/storage/v1/object/{bucket}/{path:path}",
                    self.upload,
                    methods=["POST", "PUT"],
                )
            ]
        )

    async def upload(self, request: Request) -> Response:
        await request.body()
        luck = self._random.random()
        if self.failing and luck < 1 / 3:
            return Response("Bad gateway", status_code=502)
        path = request.path_params["path"]
        self.stored[path] += 1
        if self.failing and luck < 2 / 3:
            return Response("Service unavailable", status_code=503)
        return JSONResponse({"Id": path, "Key": f"{request.path_params['bucket']}/{path}"})
