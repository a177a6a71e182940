"""The Open Inference Protocol, version 2, of KServe and Triton: tensors of pixels in, probabilities out.

Tensors are numbers in JSON, or, with the extension for binary data, bytes behind the JSON, whose length is in the
header `Inference-Header-Content-Length`. See https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.exporting.metadata import INPUT, OUTPUT
from shoestring.serving.bodies import parse_json
from shoestring.serving.errors import Refused
from shoestring.serving.network import Network
from shoestring.serving.settings import Settings

HEADER_LENGTH = "inference-header-content-length"
_MAX_DIGITS = 18  # of a length


class InferRequest(NamedTuple):
    """The images (N, H, W, C) of a request, its id, and whether the answer is binary."""

    images: NDArray[np.uint8]
    id: str | None
    binary: bool


def model_metadata(name: str, network: Network) -> dict[str, Any]:
    """Return the description of a model."""
    about = network.metadata
    return {
        "name": name,
        "versions": [network.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, -1, -1, about.channels]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(about.classes)]}],
    }


def parse_request(body: bytes, header_length: str | None, *, channels: int, settings: Settings) -> InferRequest:
    """Parse a request for images with so many channels. Raises `Refused` (400, or 413 for too many pixels)."""
    if header_length is None:
        header, binary = body, memoryview(b"")
    else:
        length = _length(header_length)
        if length is None or length > len(body):
            raise Refused(400, f"the header {HEADER_LENGTH} is not the length of the JSON before the binary data")
        header, binary = memoryview(body)[:length], memoryview(body)[length:]
    content = parse_json(header)
    inputs = content.get("inputs") if isinstance(content, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(400, f'expected one input, as in {{"inputs": [{{"name": "{INPUT}", ...}}]}}')
    tensor = inputs[0]
    if tensor.get("name") != INPUT or tensor.get("datatype") != "UINT8":
        raise Refused(400, f"the input is called {INPUT} and has the datatype UINT8")
    shape = _shape(tensor.get("shape"), channels, settings)
    size = _parameters(tensor).get("binary_data_size")
    pixels = _numbers(tensor.get("data")) if size is None else np.frombuffer(binary, dtype=np.uint8)
    if size not in (None, pixels.size):
        raise Refused(400, f"binary_data_size is {str(size)[:100]}, but {pixels.size} bytes of binary data were sent")
    if pixels.size != np.prod(shape):
        raise Refused(400, f"the input has {pixels.size} numbers, but its shape {list(shape)} has {np.prod(shape)}")
    return InferRequest(pixels.reshape(shape), _id(content), _wants_binary(content))


def openapi_of_infer() -> dict[str, Any]:
    """Return the body of a request, which FastAPI cannot know, for the description of the paths."""
    text = {"type": "string"}
    tensor = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": INPUT},
            "datatype": {"const": "UINT8"},
            "shape": {"type": "array", "items": {"type": "integer"}, "description": "images, height, width, channels"},
            "data": {"type": "array", "items": {}, "description": "whole numbers from 0 to 255, also as nested lists"},
            "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
        },
    }
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": text, "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1}},
    }
    binary = {"type": "string", "format": "binary", "description": f"JSON of the length {HEADER_LENGTH}, then pixels"}
    content = {"application/json": {"schema": request}, "application/octet-stream": {"schema": binary}}
    return {"requestBody": {"required": True, "content": content}}


def _length(text: str) -> int | None:
    """Return the number in a header; None for anything else, also digits that are not ASCII, and thousands of them."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _parameters(item: dict[str, Any]) -> dict[str, Any]:
    parameters = item.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _id(content: dict[str, Any]) -> str | None:
    return None if content.get("id") is None else str(content["id"])


def _shape(shape: Any, channels: int, settings: Settings) -> tuple[int, ...]:
    valid = isinstance(shape, list) and len(shape) == 4 and all(type(n) is int and n > 0 for n in shape)
    if not valid or shape[3] != channels:
        raise Refused(400, f"the shape of the input is [images, height, width, {channels}]")
    if shape[0] > settings.max_images:
        raise Refused(413, f"{shape[0]} images are too many for a request: the maximum is {settings.max_images}")
    if shape[1] * shape[2] > settings.max_pixels:
        raise Refused(413, f"the images have too many pixels: the maximum is {settings.max_pixels:,}")
    return tuple(shape)


def _numbers(data: Any) -> NDArray[np.uint8]:
    """Return the whole numbers 0..255 in a list, which may be nested."""
    try:
        values = np.array(data)
    except ValueError:  # lists of different lengths
        values = np.zeros(0)
    if not isinstance(data, list) or values.dtype.kind not in "iu" or not ((values >= 0) & (values <= 255)).all():
        raise Refused(400, "the data of the input are whole numbers from 0 to 255, or binary data with their size")
    return values.astype(np.uint8)


def _wants_binary(content: dict[str, Any]) -> bool:
    outputs = content.get("outputs")
    if outputs is None:
        return bool(_parameters(content).get("binary_data_output"))
    if not isinstance(outputs, list) or any(not isinstance(o, dict) or o.get("name") != OUTPUT for o in outputs):
        raise Refused(400, f"there is one output, which is called {OUTPUT}")
    return bool(outputs and _parameters(outputs[0]).get("binary_data", _parameters(content).get("binary_data_output")))


def make_response(
    request: InferRequest, name: str, version: str, rows: Sequence[NDArray[np.float32]]
) -> tuple[bytes, dict[str, str]]:
    """Return the body of the answer with the probabilities of each image, and its headers."""
    probabilities = np.stack(rows)
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
    content: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": [output]}
    if request.id is not None:
        content["id"] = request.id
    if not request.binary:
        output["data"] = [float(value) for value in probabilities.ravel()]
        return json.dumps(content).encode(), {"content-type": "application/json"}
    binary = probabilities.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(binary)}
    header = json.dumps(content).encode()
    return header + binary, {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
