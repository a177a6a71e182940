from __future__ import annotations

import json

import numpy as np
import pytest

from color_networks import pixels

INFER = "/v2/models/colors/infer"


def tensor(images: np.ndarray, **more) -> dict:
    return {"name": "images", "datatype": "UINT8", "shape": list(images.shape), "data": images.ravel().tolist(), **more}


def probabilities(answer: dict) -> np.ndarray:
    (output,) = answer["outputs"]
    assert output["name"] == "probabilities" and output["datatype"] == "FP32"
    return np.array(output["data"]).reshape(output["shape"])


def test_health_and_metadata(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "shoestring"
    about = client.get("/v2/models/colors").json()
    assert about["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert about["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}]
    (version,) = about["versions"]
    assert client.get(f"/v2/models/colors/versions/{version}").json() == about
    assert client.get("/v2/models/colors/ready").json()["ready"] is True
    assert client.get("/v2/models/none/ready").status_code == 404
    assert client.get("/v2/models/colors/versions/7/ready").status_code == 404


@pytest.mark.parametrize("side", [16, 5, 40])
def test_numbers_in_json(client, side):
    images = pixels("blue", "red", side=side)
    answer = client.post(INFER, json={"id": "a", "inputs": [tensor(images)]}).json()
    assert answer["id"] == "a" and answer["model_name"] == "colors"
    assert probabilities(answer).argmax(1).tolist() == [2, 0]
    nested = client.post(INFER, json={"inputs": [tensor(images, data=images.tolist())]}).json()
    assert np.array_equal(probabilities(nested), probabilities(answer)) and "id" not in nested


def test_binary_tensors(client):
    images = pixels("green", "blue", "red")
    content = {"inputs": [tensor(images, parameters={"binary_data_size": images.size})]}
    del content["inputs"][0]["data"]
    for parameters in ({}, {"binary_data_output": True}):
        header = json.dumps({**content, "parameters": parameters}).encode()
        length = {"Inference-Header-Content-Length": str(len(header))}
        response = client.post(INFER, content=header + images.tobytes(), headers=length)
        if not parameters:
            expected = probabilities(response.json())
            assert expected.argmax(1).tolist() == [1, 2, 0]
    size = int(response.headers["inference-header-content-length"])
    (output,) = json.loads(response.content[:size])["outputs"]
    assert output["parameters"] == {"binary_data_size": 36} and "data" not in output
    rows = np.frombuffer(response.content[size:], dtype="<f4").reshape(output["shape"])
    assert np.allclose(rows, expected)
    wanted = {**content, "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]}
    header = json.dumps(wanted).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    again = client.post(INFER, content=header + images.tobytes(), headers=length)
    assert again.content[int(again.headers["inference-header-content-length"]) :] == response.content[size:]


ONE = pixels("red", side=2)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        ({}, 400, "expected one input"),
        ({"inputs": [tensor(ONE), tensor(ONE)]}, 400, "expected one input"),
        ({"inputs": ["images"]}, 400, "expected one input"),
        ({"inputs": [tensor(ONE, name="x")]}, 400, "called images"),
        ({"inputs": [tensor(ONE, datatype="FP32")]}, 400, "datatype UINT8"),
        ({"inputs": [tensor(ONE, shape=[1, 2, 2, 1])]}, 400, "[images, height, width, 3]"),
        ({"inputs": [tensor(ONE, shape=[2, 2, 3])]}, 400, "[images, height, width, 3]"),
        ({"inputs": [tensor(ONE, shape=[0, 2, 2, 3])]}, 400, "[images, height, width, 3]"),
        ({"inputs": [tensor(ONE, shape=[True, 2, 2, 3])]}, 400, "[images, height, width, 3]"),
        ({"inputs": [tensor(ONE, shape=[65, 2, 2, 3])]}, 413, "65 images are too many"),
        ({"inputs": [tensor(ONE, shape=[1, 10_000, 10_000, 3])]}, 413, "too many pixels"),
        ({"inputs": [tensor(ONE, shape=[1, 2, 3, 3])]}, 400, "has 12 numbers, but its shape [1, 2, 3, 3] has 18"),
        ({"inputs": [tensor(ONE, data=[256] * 12)]}, 400, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(ONE, data=[-1] * 12)]}, 400, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(ONE, data=[0.5] * 12)]}, 400, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(ONE, data=["a"] * 12)]}, 400, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(ONE, data=[[1, 2], [3]])]}, 400, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(ONE, data=None)]}, 400, "whole numbers from 0 to 255"),
        ({"inputs": [tensor(ONE, data=None, parameters={"binary_data_size": 12})]}, 400, "is 12, but 0 bytes"),
        ({"inputs": [tensor(ONE)], "outputs": [{"name": "x"}]}, 400, "one output, which is called probabilities"),
    ],
)
def test_bad_tensors_are_refused(client, content, status, reason):
    response = client.post(INFER, json=content)
    assert response.status_code == status and reason in response.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "1000000", "\xb2".encode("latin-1"), "1" * 5000])
def test_a_wrong_length_of_the_header_is_refused(client, length):
    response = client.post(INFER, content=b"{}", headers={"Inference-Header-Content-Length": length})
    assert response.status_code == 400 and "not the length" in response.json()["error"]


def test_an_unknown_model_is_refused(client):
    assert client.post("/v2/models/none/infer", json={}).status_code == 404
