"""Predict the classes of images with an exported model: python predict.py a.jpg b.png (needs onnxruntime, pillow)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), providers=["CPUExecutionProvider"])
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
for path in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    rgb = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    (rows,) = session.run(["probabilities"], {"images": np.asarray(rgb)[None]})
    probabilities = dict(zip(names, rows[0].tolist(), strict=True))
    label = max(probabilities, key=probabilities.__getitem__)
    result = {"path": path, "label": label, "probability": probabilities[label], "probabilities": probabilities}
    print(json.dumps(result))
