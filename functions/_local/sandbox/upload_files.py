"""The files API: input files uploaded by clients, kept in memory until deleted."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._local.sandbox.predictions import rfc3339
from functions._local.sandbox.problems import Problem

MAX_BYTES = 100 * 1024 * 1024
LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class InputFile:
    id: str
    name: str
    content_type: str
    data: bytes
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self, base_url: str) -> dict[str, Any]:
        md5 = hashlib.md5(self.data, usedforsecurity=False).hexdigest()
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": len(self.data),
            "etag": md5,
            "checksums": {"sha256": hashlib.sha256(self.data).hexdigest(), "md5": md5},
            "metadata": {},
            "created_at": rfc3339(self.created_at),
            "expires_at": rfc3339(self.created_at + LIFETIME),
            "urls": {"get": f"{base_url}v1/files/{self.id}"},
        }


class Files:
    """The uploaded files by id, and one handler method for each route of ``/files``."""

    def __init__(self) -> None:
        self.files: dict[str, InputFile] = {}

    async def create(self, request: Request) -> Response:
        async with request.form(max_part_size=MAX_BYTES) as form:
            content = form.get("content")
            if not isinstance(content, UploadFile):
                raise Problem(400, "Missing content")
            data = await content.read()
            if len(data) > MAX_BYTES:
                raise Problem(413, "The file is larger than 100 MiB")
            file = InputFile(
                secrets.token_hex(12),
                str(form.get("filename") or content.filename or "file"),
                str(form.get("type") or content.content_type or "application/octet-stream"),
                data,
            )
        self.files[file.id] = file
        return JSONResponse(file.as_json(str(request.base_url)), status_code=201)

    async def list(self, request: Request) -> Response:
        results = [file.as_json(str(request.base_url)) for file in reversed(self.files.values())]
        return JSONResponse({"previous": None, "next": None, "results": results})

    async def get(self, request: Request) -> Response:
        return JSONResponse(self._find(request).as_json(str(request.base_url)))

    async def delete(self, request: Request) -> Response:
        del self.files[self._find(request).id]
        return Response(status_code=204)

    def has(self, address: str, base_url: str) -> bool:
        """Whether ``address`` is not one of the files API, or names a file that exists."""
        prefix = f"{base_url}v1/files/"
        return not address.startswith(prefix) or address.removeprefix(prefix) in self.files

    def _find(self, request: Request) -> InputFile:
        file = self.files.get(request.path_params["id"])
        if file is None:
            raise HTTPException(404)
        return file
