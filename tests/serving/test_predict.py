from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from color_networks import COLORS, picture, write_network
from shoestring.data import decode_file


def classes(response) -> list[str | None]:
    """Return the most probable class of each image of an answer."""
    assert response.status_code == 200, response.text
    rows = response.json()["predictions"]
    return [row["classes"][0]["class"] if "classes" in row else None for row in rows]


def refused(response, status: int, reason: str) -> None:
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"] and reason in response.json()["error"]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_the_bytes_of_an_image_get_their_class(client, color, format):
    kind = "application/x-www-form-urlencoded" if format == "PNG" else "image/whatever"
    response = client.post("/predict", content=picture(color, format), headers={"content-type": kind})
    assert classes(response) == [color]
    answer = response.json()
    assert answer["model"] == "colors" and len(answer["version"]) == 12
    (row,) = answer["predictions"]
    assert row["image"] == "0" and len(row["classes"]) == 1 and row["classes"][0]["probability"] > 0.9


def test_forms_have_one_file_or_many(client):
    one = client.post("/predict", files={"anything": ("a.png", picture("blue"), "image/png")})
    assert classes(one) == ["blue"] and one.json()["predictions"][0]["image"] == "a.png"
    files = [("images", (f"{color}.png", picture(color), "image/png")) for color in ("green", "red", "blue")]
    many = client.post("/predict?top=3", files=files)
    assert classes(many) == ["green", "red", "blue"]
    for row in many.json()["predictions"]:
        values = [entry["probability"] for entry in row["classes"]]
        assert len(values) == 3 and values == sorted(values, reverse=True) and abs(sum(values) - 1) < 1e-4


def test_json_has_texts_and_objects(client):
    green = encoded(picture("green"))
    images = [green, {"base64": encoded(picture("red")), "name": "r"}, f"data:image/png;base64,{green}"]
    response = client.post("/predict", json={"images": images})
    assert classes(response) == ["green", "red", "green"]
    assert [row["image"] for row in response.json()["predictions"]] == ["0", "r", "2"]
    assert classes(client.post("/predict", json={"image": green})) == ["green"]
    assert classes(client.post("/predict", json=[green])) == ["green"]


def test_images_are_decoded_as_by_predict(client, tmp_path: Path):
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (90, 61, 3), dtype=np.uint8)).resize((610, 900))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "photo.jpg"
    photo.save(file, exif=exif)
    decoded = decode_file(file, resolution=16, channels=3, fit="crop")
    scores = 0.02 * decoded.reshape(-1, 3).mean(0)
    expected = np.exp(scores) / np.exp(scores).sum()
    rows = client.post("/predict?top=3", content=file.read_bytes()).json()["predictions"][0]["classes"]
    found = {row["class"]: row["probability"] for row in rows}
    assert np.allclose([found[name] for name in COLORS], expected, atol=2e-5)


def test_several_labels_are_those_of_at_least_half(make_client, tmp_path: Path):
    file = write_network(tmp_path / "labels.onnx", task="multi-label")
    client = make_client({"labels": file})
    yellow = np.zeros((16, 16, 3), dtype=np.uint8)
    yellow[..., :2] = 250
    out = io.BytesIO()
    Image.fromarray(yellow).save(out, "PNG")
    row = client.post("/predict", content=out.getvalue()).json()["predictions"][0]
    assert sorted(entry["class"] for entry in row["classes"]) == ["green", "red"]
    assert row["probabilities"]["blue"] < 0.5 < row["probabilities"]["red"]
    refused(client.post("/predict?unknown_below=0.5", content=out.getvalue()), 400, "several labels")


def test_images_of_low_probability_are_unknown(make_client, tmp_path: Path):
    client = make_client({"unsure": write_network(tmp_path / "unsure.onnx", scale=0.001)})
    row = client.post("/predict?unknown_below=0.6", content=picture("red")).json()["predictions"][0]
    assert row["unknown"] is True and row["classes"][0]["class"] == "red"


def test_a_bad_image_does_not_stop_the_others(client):
    files = [
        ("f", ("a.png", picture("red"))),
        ("f", ("b.txt", b"hello, world")),
        ("f", ("c.png", picture("blue")[:60])),
    ]
    response = client.post("/predict", files=files)
    assert classes(response) == ["red", None, None]
    first, second, third = response.json()["predictions"]
    assert "error" not in first and second["image"] == "b.txt"
    assert second["error"].startswith("it is not an image; expected") and "broken" in third["error"]
    refused(client.post("/predict", files=files[1:]), 415, "none of the 2 images can be read, the first: it is not an")


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG file that says that it has so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000 * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 415, "it is empty"),
        (b"hello, world", 415, "it is not an image"),
        (b"\xff\xfe\x00\x01" * 50, 415, "it is not an image"),
        (picture("red", "PNG")[:40], 400, "broken"),
        (picture("red", "JPEG", size=(300, 300))[:600], 400, "broken"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 400, "broken"),
        (bomb(6000, 6000), 413, "too many pixels: the maximum is 32,000,000"),
        (bomb(60000, 60000), 413, "too many pixels: the maximum is 32,000,000"),
        (picture("red", "TIFF"), 415, "it is an image in the format TIFF; expected one of JPEG, PNG"),
    ],
    ids=["empty", "text", "bytes", "short", "truncated", "zeros", "large", "bomb", "tiff"],
)
def test_what_is_no_image_is_refused(client, content, status, reason):
    refused(client.post("/predict", content=content), status, reason)


def test_formats_are_chosen(make_client):
    client = make_client(formats=("TIFF",))
    assert classes(client.post("/predict", content=picture("green", "TIFF"))) == ["green"]
    refused(client.post("/predict", content=picture("green")), 415, "format PNG; expected one of TIFF")


def test_limits_of_a_request(make_client):
    client = make_client(max_bytes=2000, max_images=2, max_pixels=500)
    refused(client.post("/predict", content=bytes(2001)), 413, "the request is too large: the maximum is 2,000 bytes")
    parts = iter([bytes(1500), bytes(1500)])  # of unknown length
    refused(client.post("/predict", content=parts), 413, "the maximum is 2,000 bytes")
    files = [("f", ("a.png", picture("red")))] * 3
    refused(client.post("/predict", files=files), 413, "too many images for a request: the maximum is 2")
    refused(client.post("/predict", json={"images": ["", "", ""]}), 413, "3 images are too many")
    refused(client.post("/predict", content=picture("red", size=(30, 17))), 413, "the maximum is 500")
    assert classes(client.post("/predict", content=picture("red", size=(25, 20)))) == ["red"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xff", "not JSON in UTF-8"),
        (json.dumps({"images": []}).encode("utf-16"), "not JSON in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"images": 1' + b"0" * 5000 + b"}", "not JSON"),
        (b"{}", "expected JSON with"),
        (b'{"images": []}', "expected JSON with"),
        (b'{"images": "abc"}', "expected JSON with"),
        (b'{"images": [1]}', "image 0 is neither"),
        (b'{"images": [{}]}', "image 0 is neither"),
        (b'{"images": ["no base64!"]}', "image 0 is not base64"),
        ('{"images": ["\u00e9\u00e9"]}'.encode(), "image 0 is not base64"),
        (b'{"images": ["\\ud800"]}', "image 0 is not base64"),
        (b'{"images": [""], "top": 3}', "'top' is not part of the JSON"),
        (b'{"image": "", "model": "a"}', "options are in the URL"),
    ],
)
def test_broken_json_is_refused(client, body, reason):
    refused(client.post("/predict", content=body, headers={"content-type": "application/json"}), 400, reason)


@pytest.mark.parametrize(
    ("kind", "body", "status", "reason"),
    [
        ("multipart/form-data", b"abc", 400, "the form is broken"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n", 400, "the form"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--",
            400,
            "the form",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\na\r\n--x--',
            400,
            "no file",
        ),
        ("multipart/form-data; boundary=x; charset=none", b"--x\r\n", 400, "the form"),
        ("application/x-www-form-urlencoded", b"a=b", 415, "it is not an image"),
    ],
)
def test_broken_forms_are_refused(client, kind, body, status, reason):
    refused(client.post("/predict", content=body, headers={"content-type": kind}), status, reason)


def test_odd_names_of_files_come_back(client):
    boundary = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n'
    names = [b"\xff\xfe.png", "\u00e9\u202e.png".encode(), b"../../etc/passwd"]
    body = b"".join(boundary % name + picture("red") + b"\r\n" for name in names) + b"--x--\r\n"
    response = client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert classes(response) == ["red"] * 3
    assert response.json()["predictions"][2]["image"] == "../../etc/passwd"


def test_compressed_bodies_are_refused(client):
    body = zlib.compress(picture("red"))
    refused(client.post("/predict", content=body, headers={"content-encoding": "deflate"}), 415, "compressed")


def test_unknown_parameters_and_paths_are_refused(client):
    refused(client.post("/predict?model=digits", content=picture()), 404, "no model called 'digits'; known: colors")
    refused(client.post("/predict?top=0", content=picture()), 400, "top: ")
    refused(client.post("/predict?unknown_below=2", content=picture()), 400, "unknown_below: ")
    refused(client.get("/predict"), 405, "GET is not possible here")
    refused(client.get("/nothing"), 404, "there is nothing at /nothing")


def test_urls_are_refused_unless_allowed(client):
    refused(client.post("/predict", json={"images": ["https://example.com/a.png"]}), 403, "does not fetch URLs")


def test_models_are_chosen_by_name(make_client, network: Path, tmp_path: Path):
    other = write_network(tmp_path / "other.onnx", classes=("rot", "gr\u00fcn", "blau"))
    client = make_client({"colors": network, "other": other})
    assert classes(client.post("/predict", content=picture("green"))) == ["green"]
    assert classes(client.post("/predict?model=other", content=picture("green"))) == ["gr\u00fcn"]
    about = client.get("/models").json()
    assert [model["name"] for model in about["models"]] == ["colors", "other"]
    assert about["models"][1]["classes"] == ["rot", "gr\u00fcn", "blau"] and about["limits"]["images"] == 64
