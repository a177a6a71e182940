"""A model repository for NVIDIA Triton Inference Server, and KServe, which runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from shoestring.exporting.metadata import INPUT, OUTPUT, Metadata
from shoestring.runtime.files import write_text

CONFIG, LABELS = "config.pbtxt", "labels.txt"
_MAX_BATCH = 64
_MAX_DELAY = 2000  # microseconds that a request waits for others

_TEMPLATE = """\
# {name}: {classes} classes, exported by shoestring {version}
name: {quoted_name}
backend: "onnxruntime"
max_batch_size: {max_batch}
input [
  {{
    name: "{input}"
    data_type: TYPE_UINT8
    dims: [ -1, -1, {channels} ]  # height, width, channels: images of any size
  }}
]
output [
  {{
    name: "{output}"
    data_type: TYPE_FP32
    dims: [ {classes} ]
    label_filename: "{labels}"
  }}
]
dynamic_batching {{
  max_queue_delay_microseconds: {delay}  # requests of the same image size that arrive within it share a batch
}}
instance_group [
  {{
    count: 1
    kind: KIND_AUTO  # one instance for each GPU, or one on the CPU without a GPU
  }}
]
version_policy: {{ latest: {{ num_versions: 1 }} }}
parameters: {{ key: "metadata" value: {{ string_value: {metadata} }} }}
"""


def repository_name(name: str) -> str:
    """Return a name that Triton accepts for a model: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model"


def files(name: str) -> list[str]:
    """Return the paths of the files of a repository with one model of this name, the model first."""
    return [model_file(name), f"{name}/{CONFIG}", f"{name}/{LABELS}"]


def model_file(name: str) -> str:
    """Return the path of the ONNX file in a repository: that of version 1."""
    return f"{name}/1/model.onnx"


def write_repository(folder: Path, name: str, metadata: Metadata) -> None:
    """Write everything of a repository except for the ONNX file, which is `model_file(name)`.

    Each GPU runs one instance of the model, and requests for images of one size are batched.
    """
    text = _TEMPLATE.format(
        name=name,
        quoted_name=_quoted(name),
        version=metadata.version,
        max_batch=_MAX_BATCH,
        input=INPUT,
        output=OUTPUT,
        channels=metadata.channels,
        classes=len(metadata.classes),
        labels=LABELS,
        delay=_MAX_DELAY,
        metadata=_quoted(json.dumps(metadata.properties())),
    )
    write_text(folder / name / CONFIG, text)
    write_text(folder / name / LABELS, "".join(" ".join(label.split()) + "\n" for label in metadata.classes))


def _quoted(text: str) -> str:
    """Return text as a string of the protobuf text format: ASCII, with octal escapes of UTF-8."""
    escaped = {34: '\\"', 92: "\\\\", 10: "\\n", 13: "\\r", 9: "\\t"}
    parts = (escaped.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode())
    return f'"{"".join(parts)}"'
