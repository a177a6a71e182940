from __future__ import annotations

import json
import logging

import pytest

from color_networks import picture
from shoestring.serving.logs import _JsonLines

KEY = "a-secret-key"


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
def test_the_key_opens_all_paths(make_client, headers):
    client = make_client(api_key=KEY)
    assert client.post("/predict", content=picture(), headers=headers).status_code == 200
    assert client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer no"}, {"Authorization": KEY}, {"X-API-Key": ""}, {"X-API-Key": "\u00e9"}]
)
def test_without_the_key_only_pages_and_health_are_open(make_client, headers):
    client = make_client(api_key=KEY)
    headers = {name: value.encode() for name, value in headers.items()}
    for path in ("/", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"):
        assert client.get(path, headers=headers).status_code == 200
    for path in ("/models", "/metrics", "/v2/models/colors", "/nothing"):
        response = client.get(path, headers=headers)
        assert response.status_code == 401 and "API key" in response.json()["error"]
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.post("/predict", content=picture(), headers=headers).status_code == 401


def test_load_balancers_may_ask_for_the_head_alone(make_client):
    client = make_client(api_key=KEY)
    for path in ("/", "/v2/health/live", "/v2/health/ready"):
        assert client.head(path).status_code == 200
    assert client.head("/metrics").status_code == 401 and client.head("/nothing").status_code == 401
    assert client.head("/predict", headers={"X-API-Key": KEY}).status_code == 405
    assert 'path="/v2/health/ready"' in client.get("/metrics", headers={"X-API-Key": KEY}).text


def test_every_answer_has_an_id(client):
    assert client.get("/v2", headers={"X-Request-ID": "trace:7"}).headers["x-request-id"] == "trace:7"
    made = client.get("/nothing", headers={"X-Request-ID": "not an id"}).headers["x-request-id"]
    assert len(made) == 32 and made != client.get("/nothing").headers["x-request-id"]


def test_requests_are_logged(client, caplog):
    with caplog.at_level(logging.INFO, logger="shoestring.serving"):
        client.post("/predict", content=picture(), headers={"X-Request-ID": "seven"})
        client.post("/predict", content=b"text")
    entries = [json.loads(_JsonLines().format(record)) for record in caplog.records]
    first, second = (entry for entry in entries if entry["event"] == "request")
    assert first["request_id"] == "seven" and first["status"] == 200 and first["level"] == "info"
    assert (first["method"], first["path"], first["model"], first["images"]) == ("POST", "/predict", "colors", 1)
    assert first["bytes"] == len(picture()) and first["ms"] > 0 and first["time"].endswith("Z")
    assert second["status"] == 415


def test_no_log_of_requests_if_quiet(make_client, caplog):
    with caplog.at_level(logging.INFO, logger="shoestring.serving"):
        make_client(log_requests=False).post("/predict", content=picture())
    assert not [record for record in caplog.records if record.getMessage() == "request"]


def test_metrics(client):
    client.post("/predict", files=[("f", ("a", picture())), ("f", ("b", b"text"))])
    client.post("/predict", content=b"text")
    client.get("/nowhere")
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'shoestring_requests_total{path="/predict",status="200"} 1.0',
        'shoestring_requests_total{path="/predict",status="415"} 1.0',
        'shoestring_requests_total{path="other",status="404"} 1.0',
        'shoestring_waiting_images{model="colors"} 0.0',
        'shoestring_batch_images_sum{model="colors"} 1.0',
        'shoestring_decode_seconds_count{model="colors"} 3.0',
        'shoestring_model_loads_total{model="colors",result="loaded"} 1.0',
        'shoestring_model_loads_total{model="colors",result="failed"} 0.0',
        "shoestring_running_requests 1.0",
    ):
        assert line in lines


def test_other_origins_are_refused_unless_allowed(make_client):
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in make_client().options("/predict", headers=asked).headers
    client = make_client(cors=("https://example.com",), api_key=KEY)
    assert client.options("/predict", headers=asked).headers["access-control-allow-origin"] == "https://example.com"
    assert client.options("/predict", headers={**asked, "Origin": "https://example.org"}).status_code == 400


def test_a_defect_is_answered_and_logged(client, caplog, monkeypatch):
    from shoestring.serving.network import Network

    monkeypatch.setattr(Network, "run", lambda self, images, session=0: 1 / 0)
    with caplog.at_level(logging.ERROR, logger="shoestring.serving"):
        response = client.post("/predict", content=picture(), headers={"X-Request-ID": "seven"})
    assert response.status_code == 500, response.text
    assert response.json() == {"error": "internal error; the log has more about request seven"}
    entry = json.loads(_JsonLines().format(caplog.records[-1]))
    assert entry["request_id"] == "seven" and "ZeroDivisionError" in entry["traceback"]


def test_the_description_of_the_paths(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/models", "/metrics", "/v2/health/ready", "/v2/models/{name}/infer"} <= set(paths)
    predict = paths["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) >= {"multipart/form-data", "application/json", "image/*"}
    assert {"200", "413", "415", "429"} <= set(predict["responses"])
    infer = paths["/v2/models/{name}/infer"]["post"]
    assert set(infer["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert [one["name"] for one in predict["parameters"]] == ["model", "top", "unknown_below"]


def test_the_description_has_the_errors_and_parameters_that_there_are(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert next(iter(paths)) == "/predict"
    for methods in paths.values():
        for about in methods.values():
            assert "422" not in about["responses"] and "default" in about["responses"]
            assert "version" not in {one["name"] for one in about.get("parameters", ())}
