"""A Storage that fails at times: takes uploads as Supabase Storage does, keeps none, and counts them by path."""

import random
from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Bucket:
    def __init__(self, seed: int) -> None:
        self.stored: Counter[str] = Counter()
        self.failing = False
        """Whether two of three uploads fail, half of those after they were taken."""
        self._random = random.Random(seed)  # noqa: S311 - replayable
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
