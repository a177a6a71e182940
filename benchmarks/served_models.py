"""Models and images for the benchmark of serving, and the LitServe server that it is compared with."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shoestring.data import in_memory
from shoestring.exporting import onnx
from shoestring.exporting.formats import describe, pipeline
from shoestring.exporting.parity import with_tta
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.models.model import build
from shoestring.models.preprocessing import Preprocessing

CLASSES = tuple(f"class {index}" for index in range(10))
NETWORKS = {  # name -> side in pixels
    "resnet20": 32,
    "resnet56": 32,
    "resnet18": 64,
    "timm:tf_efficientnet_lite0": 128,
}

LITSERVE = """
import base64, io, json, sys
import litserve as ls
import numpy as np
import onnxruntime
from PIL import Image

FILE, PORT, BATCH, WORKERS, FAST = sys.argv[1], *map(int, sys.argv[2:6])

class Classifier(ls.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(FILE, options, providers=["CPUExecutionProvider"])
        about = self.session.get_modelmeta().custom_metadata_map
        self.classes, self.side = json.loads(about["classes"]), json.loads(about["resolution"])
    def decode_request(self, request):
        image = Image.open(io.BytesIO(base64.b64decode(request["images"][0]))).convert("RGB")
        if image.size != (self.side, self.side):
            image = image.resize((self.side, self.side), Image.Resampling.BICUBIC)
        return np.asarray(image)
    def predict(self, images):
        return self.session.run(None, {"images": images if BATCH > 1 else images[None]})[0]
    def unbatch(self, output):
        return list(output)
    def encode_response(self, row):
        row = row if BATCH > 1 else row[0]
        best = int(row.argmax())
        return {"predictions": [{"classes": [{"class": self.classes[best], "probability": float(row[best])}]}]}

if __name__ == "__main__":
    api = Classifier(max_batch_size=BATCH, batch_timeout=0.0)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, fast_queue=bool(FAST))
    server.run(port=PORT, host="127.0.0.1", generate_client_file=False, log_level="warning", access_log=False)
"""


def pictures(side: int, count: int = 64) -> list[bytes]:
    """Return JPEG files of smooth noise."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        out = io.BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        files.append(out.getvalue())
    return files


def export(network: str, folder: Path, *, tta: str = "none") -> Path:
    """Export a network with random weights, and batch-norm statistics of the pictures; return its ONNX file."""
    side = NETWORKS[network]
    torch.manual_seed(0)
    size = Preprocessing(side, 3, (0.5,) * 3, (0.25,) * 3, mirror=True)
    model = build(network, classes=CLASSES, preprocessing=size)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in pictures(side)])
    images = in_memory(pixels, None, classes=CLASSES, resolution=side)
    reestimate_batchnorm(model.module, [model.prepare(torch.from_numpy(images.pixels))])
    model = with_tta(model, tta)
    file = folder / f"{network.removeprefix('timm:')}-{tta}.onnx"
    proto = onnx.to_onnx(onnx.trace(pipeline(model, "float32")))
    onnx.save(onnx.with_metadata(proto, describe(model, precision="float32", accuracy=None)), file)
    return file


def answers(file: Path, images: list[bytes]) -> list[str]:
    """Return the right class of each image, from ONNX Runtime."""
    from shoestring.serving.images import read
    from shoestring.serving.network import Network
    from shoestring.serving.settings import Settings

    network = Network(file, Settings(threads=1))
    rows = network.run(np.stack([read(image, network.metadata, Settings()) for image in images]))
    return [network.metadata.classes[row.argmax()] for row in rows]


def request(body: bytes, kind: str, *, path: str = "/predict", more: str = "") -> bytes:
    """Return a request as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


def as_json(image: bytes) -> bytes:
    return request(json.dumps({"images": [base64.b64encode(image).decode()]}).encode(), "application/json")


def as_form(image: bytes) -> bytes:
    part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return request(part + image + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")


def as_bytes(image: bytes) -> bytes:
    return request(image, "image/jpeg")


def expecting(image_class: str) -> bytes:
    """Return what the answer to an image of this class contains, by either server, without the spaces of its JSON."""
    return f'"class":"{image_class}"'.encode()
