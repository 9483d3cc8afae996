"""The whole path, as an app walks it: the real supabase client, a gateway, PostgreSQL, Storage, the sandbox."""

import io

import pytest
from PIL import Image
from supabase import ClientOptions, create_client

from tests.help import until_ended


@pytest.mark.parametrize(
    ("model", "image_format"),
    [
        ("black-forest-labs/flux-schnell", "webp"),
        ("stability-ai/sdxl", "png"),
        ("bytedance/seedream-4", "jpeg"),
        ("recraft-ai/recraft-v3-svg", "svg"),
    ],
)
def test_from_prompt_to_stored_picture(edge, db, sandbox, model, image_format):
    client = create_client(edge.url, edge.anon_key, ClientOptions(httpx_client=edge.client))
    answer = client.functions.invoke(
        "start-generation",
        {
            "body": {
                "prompt": "a <fox> & a hare",
                "model_id": model,
                "width": 1024,
                "height": 1024,
                "seed": 0,
            },
            "headers": {"Authorization": f"Bearer {edge.user_token()}"},
            "responseType": "json",
        },
    )
    assert answer == {
        "success": True,
        "generation_id": answer["generation_id"],
        "job_id": answer["job_id"],
        "status": "queued",
        "message": "Image generation started. You will be notified when complete.",
    }

    generation = until_ended(edge, answer["generation_id"])
    assert generation["status"] == "completed", generation["error_message"]
    [image] = generation["images"]
    assert image["format"] == image_format
    assert image["filename"] == f"{generation['id']}.{image_format}"
    assert image["storage_path"] == f"{edge.user_id}/{image['filename']}"
    assert (image["width"], image["height"]) == (1024, 1024)

    stored = edge.client.get(image["public_url"])
    assert stored.status_code == 200
    assert int(stored.headers["content-length"]) == image["file_size"] == len(stored.content)
    if image_format == "svg":
        assert stored.headers["content-type"].startswith("image/svg+xml")
        assert b"a &lt;fox&gt;" in stored.content
    else:
        assert stored.headers["content-type"] == f"image/{image_format}"
        picture = Image.open(io.BytesIO(stored.content))
        assert (picture.format.lower(), picture.size) == (image_format, (1024, 1024))

    assert len(sandbox.state.predictions) == 1, "paid once"
    jobs = db.execute(
        "select job_type, status, attempt_number, result from job_queue order by created_at"
    ).fetchall()
    assert [(job["job_type"], job["status"], job["attempt_number"]) for job in jobs] == [
        ("generate-image", "completed", 1),
        ("download-image", "completed", 1),
    ]
    assert jobs[1]["result"] == {
        "image_id": image["id"],
        "public_url": image["public_url"],
        "storage_path": image["storage_path"],
        "image_ids": [image["id"]],
    }
