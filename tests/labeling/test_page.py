"""The page's application: what it answers, and what it refuses."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from afield.labeling.label_file import NONE_OF_THESE, read_labels
from afield.labeling.plan import plan
from afield.labeling.session import Session, Settings
from tests.labeling.tasks import NAMES, small_task

pytest.importorskip("starlette", reason="starlette is not installed")
testclient = pytest.importorskip("starlette.testclient", reason="httpx is not installed")

TOKEN = "a-long-token"


@pytest.fixture
def session(tmp_path):
    task, _ = small_task(tmp_path / "site")
    rows = plan(task, [], 9, audit=3, near_duplicates=True)
    return Session(task, rows, tmp_path / "labels.csv", Settings(9, "clue", near_duplicates=True, refit_every=3))


@pytest.fixture
def client(session):
    from afield.labeling.page.app import make_app

    with testclient.TestClient(make_app(session, TOKEN), base_url=f"http://127.0.0.1/{TOKEN}/") as client:
        yield client


def view(client, browser="a"):
    return client.get("view", params={"browser": browser}).json()


def test_the_page_and_its_parts_are_served_and_ask_nobody_else(client):
    for name, kind in (("", "text/html"), ("page.css", "text/css"), ("page.js", "text/javascript")):
        answer = client.get(name)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "://" not in answer.text


def test_a_label_by_the_page_is_in_the_file(client, session):
    image = view(client)["image"]
    answer = client.post("label", json={"browser": "a", "image": image["index"], "label": "owl"})
    assert answer.status_code == 200
    assert answer.json()["image"]["index"] != image["index"]
    assert {row.path: row.label for row in read_labels(session.file, NAMES)}[image["path"]] == "owl"


def test_undo_skip_and_none_of_these(client, session):
    image = view(client)["image"]
    client.post("label", json={"browser": "a", "image": image["index"], "label": NONE_OF_THESE})
    assert client.post("undo", json={"browser": "a"}).json()["image"] == image
    assert client.post("skip", json={"browser": "a", "image": image["index"]}).json()["image"] != image
    assert not any(row.label for row in read_labels(session.file, NAMES))


def test_the_head_is_refitted_after_an_answer(client):
    for _ in range(4):
        image = view(client)["image"]
        client.post("label", json={"browser": "a", "image": image["index"], "label": "cat"})
    assert view(client)["fitted"] >= 2


def test_a_second_label_for_an_image_is_a_conflict_and_the_answer_goes_on(client):
    image = view(client)["image"]
    client.post("label", json={"browser": "b", "image": image["index"], "label": "cat"})
    answer = client.post("label", json={"browser": "a", "image": image["index"], "label": "dog"})
    assert answer.status_code == 409
    assert "was labeled cat in another browser" in answer.json()["message"]
    assert answer.json()["image"]["index"] != image["index"]


def test_listed_images_are_served_as_jpeg_and_others_are_not(client, session):
    listed = {session.task.paths.index(row.path) for row in session.rows}
    for index in range(36):
        answer = client.get(f"image/{index}")
        assert answer.status_code == (200 if index in listed else 404)
        if index in listed:
            shown = Image.open(io.BytesIO(answer.content))
            assert (shown.format, shown.size) == ("JPEG", (12, 8))
            assert shown.getpixel((3, 3))[0] == pytest.approx(5 * index, abs=2)


def test_an_image_that_is_gone_or_damaged_is_not_found(client, session):
    image = view(client)["image"]
    (session.task.folder / image["path"]).write_bytes(b"damaged")
    assert client.get(f"image/{image['index']}").status_code == 404
    (session.task.folder / image["path"]).unlink()
    assert client.get(f"image/{image['index']}").status_code == 404


@pytest.mark.parametrize("path", ["/", "/wrong/", "/wrong/view", "/a-long-toke/view", "/page.js", "/view"])
def test_an_address_without_the_token_is_not_found(client, path):
    assert client.get(f"http://127.0.0.1{path}").status_code == 404
    assert client.post(f"http://127.0.0.1{path}", json={}).status_code == 404


@pytest.mark.parametrize(
    "path", ["../../labels.csv", "image/../page.html", "image/00.png", "page.html", "image/-1", "app.py"]
)
def test_no_other_file_can_be_had(client, path):
    assert client.get(path).status_code == 404
    assert client.get(path.replace("..", "%2e%2e").replace("/", "%2f")).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "192.168.0.7:80"])
def test_another_host_is_refused(client, host):
    assert client.get("view", headers={"host": host}).status_code == 400
    assert client.get("view", headers={"host": "localhost:8000"}).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"browser": "a"},
        {"browser": "a", "image": 0, "label": "horse"},
        {"browser": "a", "image": 999, "label": "cat"},
        {"browser": "a", "image": "../x", "label": "cat"},
        {"browser": "a", "image": [0], "label": "cat"},
        {"browser": "a", "image": 0, "label": ["cat"]},
        ["a"],
        "a",
    ],
)
def test_a_request_that_makes_no_sense_changes_nothing(client, session, given):
    session._save(session.rows)
    before = session.file.read_bytes()
    assert client.post("label", json=given).status_code == 400
    assert client.post("label", content=b"{").status_code == 400
    assert client.get("label").status_code == 405
    assert session.file.read_bytes() == before


def test_a_disk_that_is_full_is_said(client, session, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    image = view(client)["image"]
    monkeypatch.setattr("afield.labeling.session.write_labels", full)
    answer = client.post("label", json={"browser": "a", "image": image["index"], "label": "cat"})
    assert answer.status_code == 500
    assert "cannot write" in answer.text
    assert "No space left on device" in answer.text
