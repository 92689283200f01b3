"""The server: what it answers, and what it refuses."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import afield as package
from afield.serving.limits import Limits

pytest.importorskip("starlette", reason="starlette is not installed")
pytest.importorskip("python_multipart", reason="python-multipart is not installed")
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
testclient = pytest.importorskip("starlette.testclient", reason="httpx is not installed")

TOKEN = "a-token-of-some-length"
SMALL = Limits(body_bytes=20_000, pixels=10_000, images=3, queue=2, seconds=5)


@pytest.fixture(scope="module")
def model(photo_model):
    return package.load(photo_model)


def with_torch(model):
    from afield.serving.runtime import make_classify

    return make_classify(model, "torch")


@pytest.fixture
def client(model):
    from afield.serving.app import make_app

    app = make_app(model, with_torch(model), threshold=0.5, limits=SMALL)
    with testclient.TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def picture(kind: str = "PNG", size: tuple[int, int] = (30, 20), **options) -> bytes:
    content = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(content, kind, **options)
    return content.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture("JPEG", exif=exif)


def test_one_image_as_body_is_predicted_as_the_model_does(client, model):
    for content in (picture(), picture("JPEG"), turned(), picture("WEBP")):
        answer = client.post("/predict", content=content)
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["predictions"]
        (expected,) = model.predict(Image.open(io.BytesIO(content)))
        assert found["label"] == expected.label
        assert found["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
        assert found["probability"] == found["probabilities"][found["label"]]
        assert found["review"] is (found["probability"] < 0.5)


def test_several_images_in_a_form_are_predicted_in_order(client, model):
    contents = [picture(), turned(), picture("BMP")]
    files = [("image", (f"{i}.bin", content, "image/png")) for i, content in enumerate(contents)]
    answer = client.post("/predict", files=files, data={"comment": "no image"})
    assert answer.status_code == 200, answer.text
    expected = model.predict([Image.open(io.BytesIO(content)) for content in contents])
    for one, other in zip(answer.json()["predictions"], expected, strict=True):
        assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-6)


def giant() -> bytes:
    """A PNG file of a few bytes that says that it has 50,000 x 50,000 pixels."""
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({}, 400, "the request has no image"),
        ({"content": b"not an image"}, 400, "bad image: image 1: not an image"),
        ({"content": picture()[:200]}, 400, "bad image: image 1: damaged"),
        ({"content": picture("GIF")}, 400, "bad image: image 1: not an image"),
        ({"content": giant()}, 400, "bad image: image 1: more pixels than the allowed"),
        ({"content": picture("JPEG", (101, 100))}, 400, "101 x 100 pixels, more than the allowed 10,000"),
        ({"content": b"x" * 20_001}, 413, "at most 20,000 bytes"),
        ({"content": (b"x" * 5000 for _ in range(5))}, 413, "at most 20,000 bytes"),
        ({"files": [("a", ("a.png", picture(), "image/png")), ("b", ("b\n.png", b"x", ""))]}, 400, "image 2 (b"),
        ({"files": [("a", ("a.png", picture("PNG", (8, 8)), "image/png"))] * 4}, 413, "at most 3 images"),
        ({"files": [("a", ("a.png", b"", "image/png"))]}, 400, "the file is empty"),
        ({"content": b"--x\r\n", "headers": FORM}, 400, "form"),
        ({"content": b"--x--\r\n", "headers": FORM}, 400, "the form has no file"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "the form is damaged"),
    ],
)
def test_bad_input_is_answered_with_4xx_and_a_reason(client, request_, status, says):
    answer = client.post("/predict", **request_)
    assert (answer.status_code, [*answer.json()]) == (status, ["error"])
    assert says in answer.json()["error"]
    assert client.post("/predict", content=picture()).status_code == 200


def test_other_addresses_and_methods_are_refused_in_json(client):
    assert client.get("/predict").status_code == 405
    assert client.get("/model.json").status_code == 404
    assert client.get("/").json() == {"error": "Not Found"}
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/health").headers["x-content-type-options"] == "nosniff"


def test_without_a_token_only_names_of_this_machine_are_accepted(client):
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/health", headers={"host": "localhost:8000"}).status_code == 200


def test_with_a_token_each_request_needs_it(model):
    from afield.serving.app import make_app

    with testclient.TestClient(
        make_app(model, with_torch(model), token=TOKEN), base_url="http://site.example"
    ) as client:
        for headers in (
            {},
            {"authorization": TOKEN},
            {"authorization": f"Bearer {TOKEN[:-1]}"},
            {"authorization": "Bearer ä"},
        ):
            encoded = {key: value.encode() for key, value in headers.items()}
            answer = client.post("/predict", content=picture(), headers=encoded)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert client.get("/metrics", headers=encoded).status_code == 401
        known = {"authorization": f"Bearer {TOKEN}"}
        assert client.post("/predict", content=picture(), headers=known).status_code == 200
        assert client.get("/metrics", headers=known).status_code == 200
        assert client.get("/health").status_code == 200


def test_metrics_count_requests_and_images(client):
    client.post("/predict", content=picture())
    client.post("/predict", files=[("a", ("a", picture("PNG", (9, 9))))] * 2)
    client.post("/predict", content=b"x")
    text = client.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = text.text.splitlines()
    assert 'afield_requests_total{status="200"} 2.0' in lines
    assert 'afield_requests_total{status="400"} 1.0' in lines
    assert "afield_images_total 3.0" in lines
    assert "afield_request_seconds_count 3.0" in lines
    assert "afield_active_requests 0.0" in lines


def test_a_fault_of_the_server_is_answered_without_a_traceback(model):
    from afield.serving.app import make_app

    def broken(images):
        raise RuntimeError("secret/path")

    with testclient.TestClient(
        make_app(model, broken), base_url="http://localhost", raise_server_exceptions=False
    ) as it:
        answer = it.post("/predict", content=picture())
        assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
        assert 'afield_requests_total{status="500"} 1.0' in it.get("/metrics").text
