"""The answer of `/predict`: a row for each image, as `shoestring predict --json` prints it, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Response

from shoestring.errors import UserError
from shoestring.runs.prediction_rows import Labeling
from shoestring.serving.batching import Result
from shoestring.serving.errors import Refused
from shoestring.serving.network import Network
from shoestring.tasks import find_task

_EXAMPLE = {
    "model": "photos",
    "version": "5f0c3a9b1e22",
    "predictions": [
        {"image": "a.jpg", "classes": [{"class": "cat", "probability": 0.93}, {"class": "dog", "probability": 0.07}]},
        {"image": "notes.txt", "error": "it is not an image; expected a file in one of the formats JPEG, PNG"},
    ],
}


def answer(
    name: str,
    network: Network,
    images: Sequence[str],
    results: Sequence[Result],
    *,
    top: int | None,
    unknown_below: float | None,
) -> Response:
    """Return the rows of images that were sent by these names.

    Raises `Refused` if there is no result at all, with the reason for the first image, and for a limit that does not
    suit the model.
    """
    try:
        labeling = Labeling(network.metadata.classes, top, unknown_below, find_task(network.metadata.task))
    except UserError as error:
        raise Refused(400, str(error)) from None
    if all(isinstance(result, Refused) for result in results):
        first = results[0]
        assert isinstance(first, Refused)
        if len(results) > 1:
            raise Refused(first.status, f"none of the {len(results)} images can be read, the first: {first.reason}")
        raise first
    rows = [
        {"image": image, "error": result.reason}
        if isinstance(result, Refused)
        else labeling.row(image, result).as_dict()
        for image, result in zip(images, results)
    ]
    content = {"model": name, "version": network.version, "predictions": rows}
    return Response(json.dumps(content), media_type="application/json")


def openapi_of_predict() -> dict[str, Any]:
    """Return what FastAPI cannot know of the path: its bodies, and its answers."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    item: dict[str, Any] = {
        "oneOf": [
            {"type": "string", "contentEncoding": "base64"},
            {
                "type": "object",
                "properties": {
                    "base64": {"type": "string", "contentEncoding": "base64"},
                    "url": {"type": "string", "format": "uri", "description": "only with --allow-urls"},
                    "name": {"type": "string"},
                },
            },
        ]
    }
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    content = {
        "multipart/form-data": {"schema": {"type": "object", "properties": {"images": files}}},
        "application/json": {"schema": {"type": "object", "properties": {"images": {"type": "array", "items": item}}}},
        "image/*": binary,
        "application/octet-stream": binary,
    }
    errors = {
        400: "A broken image or request",
        401: "No API key, or a wrong one",
        404: "No such model",
        408: "The request was not received in time",
        413: "Too many bytes, pixels or images",
        415: "Not an image of an allowed format",
        429: "The queue is full: send it again later",
        503: "No answer in time",
    }
    return {
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
        "responses": {
            200: {"description": "Classes of each image", "content": {"application/json": {"example": _EXAMPLE}}},
            **{
                status: {"description": text, "content": {"application/json": {"example": {"error": text}}}}
                for status, text in errors.items()
            },
        },
    }
