"""Makes the example data and models of docs/data.md: python guide-data.py (numpy, pandas, pyarrow, Pillow, torch)."""

import io
import pathlib

import numpy as np
import pandas as pd
import torch
from PIL import Image

random = np.random.default_rng(0)
kinds = np.array(["cat", "dog"])
labels = np.arange(40) % 2

# 40 images of 20 x 16 pixels: cats are reddish, dogs bluish.
images = random.integers(0, 100, (40, 16, 20, 3))
images[np.arange(40), :, :, 2 * labels] += 100
images = images.astype(np.uint8)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


for i, label in enumerate(labels):
    place = pathlib.Path("pets", kinds[label])
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{i}.png").write_bytes(png(images[i]))
encoded = [{"bytes": png(image), "path": None} for image in images]
pd.DataFrame({"image": encoded, "label": kinds[labels]}).to_parquet("pets.parquet")
square = images[:, :, 2:18]
np.savez_compressed("pets.npz", x_train=square[:32], y_train=labels[:32], x_test=square[32:], y_test=labels[32:])

# People: older ones and those who work more earn more.
age, hours = random.integers(20, 65, 40), random.integers(10, 60, 40)
schools = np.array(["school", "college", "university"])[random.integers(0, 3, 40)]
income = np.where(age + hours > 75, "high", "low")
pd.DataFrame({"age": age, "hours": hours, "education": schools, "income": income}).to_csv("people.csv", index=False)


def export(name, model, shape):
    names = {"input_names": ["x"], "output_names": ["logits"], "dynamic_axes": {"x": {0: "batch"}, "logits": {0: "batch"}}}
    torch.onnx.export(model, torch.zeros(1, *shape), name, dynamo=False, **names)


torch.manual_seed(0)
export("pets.onnx", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 2)), (3, 16, 16))
export("people.onnx", torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)), (5,))
