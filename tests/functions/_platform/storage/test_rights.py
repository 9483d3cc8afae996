"""Who may do what to objects and buckets: row-level security under the caller's role, over HTTP."""

from uuid import uuid4

import pytest

from tests.conftest import Edge, user_token


def call(edge: Edge, method: str, path: str, token: str | None = "", **options):
    token = edge.user_token() if token == "" else token
    headers = {
        **({"Authorization": f"Bearer {token}"} if token else {}),
        **options.pop("headers", {}),
    }
    return edge.client.request(method, f"{edge.url}/storage/v1/{path}", headers=headers, **options)


def told(answer) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["statusCode"], body["message"]


DENIED = (400, "403", "new row violates row-level security policy")
NOT_FOUND = (400, "404", "Object not found")


def test_a_user_keeps_source_pictures_in_a_folder_of_its_own(idle_edge: Edge):
    mine = f"object/source-images/{idle_edge.user_id}/a.png"
    theirs = f"object/source-images/{uuid4()}/a.png"
    picture = {"content": b"x", "headers": {"content-type": "image/png"}}
    assert call(idle_edge, "POST", mine, **picture).status_code == 200
    assert told(call(idle_edge, "POST", theirs, **picture)) == DENIED
    assert told(call(idle_edge, "POST", mine, idle_edge.anon_key, **picture)) == DENIED
    assert call(idle_edge, "GET", mine).content == b"x"
    assert told(call(idle_edge, "GET", mine, user_token())) == NOT_FOUND
    other = call(
        idle_edge, "DELETE", "object/source-images", user_token(), json={"prefixes": [mine]}
    )
    assert other.json() == []
    assert call(idle_edge, "GET", mine).status_code == 200
    key = mine.removeprefix("object/source-images/")
    gone = call(idle_edge, "DELETE", "object/source-images", json={"prefixes": [key]})
    assert [row["name"] for row in gone.json()] == [key]
    assert told(call(idle_edge, "GET", mine)) == NOT_FOUND


def test_a_private_bucket_is_not_public(idle_edge: Edge):
    mine = f"source-images/{idle_edge.user_id}/a.png"
    call(idle_edge, "POST", f"object/{mine}", content=b"x", headers={"content-type": "image/png"})
    answer = call(idle_edge, "GET", f"object/public/{mine}", None)
    assert told(answer) == (400, "404", "Bucket not found")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c"])
def test_invalid_credentials(idle_edge: Edge, token: str):
    assert told(call(idle_edge, "GET", "object/authenticated/generated-images/a", token)) == (
        400,
        "403",
        "Invalid Compact JWS",
    )


def test_no_credentials(idle_edge: Edge):
    answer = call(idle_edge, "GET", "bucket", None)
    assert told(answer) == (400, "400", "headers must have required property 'authorization'")


def test_a_refused_row_leaves_no_file(idle_edge: Edge, tmp_path, db):
    db.execute(
        "create function public.refuse() returns trigger language plpgsql as"
        " $$ begin if new.metadata ->> 'size' = '3' then raise insufficient_privilege; end if; return new; end $$"
    )
    db.execute(
        "create trigger refuse before insert on storage.objects"
        " for each row execute function public.refuse()"
    )
    mine = f"object/source-images/{idle_edge.user_id}/a.png"
    answer = call(idle_edge, "POST", mine, content=b"xyz", headers={"content-type": "image/png"})
    assert told(answer) == DENIED
    assert not [file for file in (tmp_path / "data/storage").rglob("*") if file.is_file()]


def test_an_upload_token_reads_nothing_and_names_one_object(idle_edge: Edge):
    folder = idle_edge.user_id
    made = call(idle_edge, "POST", f"object/upload/sign/source-images/{folder}/a.png").json()
    url = made["url"].removeprefix("/")
    picture = {"content": b"x", "headers": {"content-type": "image/png"}}
    other = url.replace("a.png", "b.png")
    assert told(call(idle_edge, "PUT", other, None, **picture))[1] == "400"
    assert call(idle_edge, "PUT", url, None, **picture).status_code == 200
    read = f"object/sign/source-images/{folder}/a.png?token={made['token']}"
    assert told(call(idle_edge, "GET", read, None))[1] == "400"
    assert told(call(idle_edge, "PUT", url, None, **picture))[1] == "409"
