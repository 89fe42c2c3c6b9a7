"""Writes test/fixtures/data: small data sets as numpy, pandas, pyarrow and Pillow write them, and models that take them.

    python scripts/data-fixtures.py test/fixtures/data
"""

import gzip
import io
import json
import pathlib
import struct
import sys

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(7)
classes, size = 3, 24
labels = np.arange(size) % classes


def model(name, inputs, width):
    """Inputs flattened and concatenated, then one layer."""
    nodes, parts = [], []
    for key, shape in inputs.items():
        nodes.append(helper.make_node("Flatten", [key], [f"{key}.flat"], axis=1))
        parts.append(f"{key}.flat")
    nodes.append(helper.make_node("Concat", parts, ["features"], axis=1))
    nodes.append(helper.make_node("Gemm", ["features", "fc.weight", "fc.bias"], ["logits"], transB=1))
    weight = (random.standard_normal((classes, width)) / np.sqrt(width)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, ["N", *shape]) for key, shape in inputs.items()],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(weight, "fc.weight"), numpy_helper.from_array(np.zeros(classes, np.float32), "fc.bias")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / f"{name}.onnx")


model("vector", {"x": [5]}, 5)
model("named", {"height": [1], "rest": [4]}, 5)
model("image", {"x": [3, 6, 8]}, 144)
model("image-last", {"x": [6, 8, 3]}, 144)
model("grey", {"x": [1, 6, 8]}, 48)

# Tables: three numbers, a text of two values, and the label as text.
names = np.array(["setosa", "versicolor", "virginica"])
table = pd.DataFrame(
    {
        "height": (labels + random.standard_normal(size) / 4).round(3),
        "width": (10 * labels + random.standard_normal(size)).round(2),
        "count": (labels * 3 + random.integers(0, 2, size)).astype(np.int64),
        "place": np.where(random.random(size) < 0.5, "north", "south, far"),
        "label": names[labels],
    }
)
table.to_csv(folder / "flowers.csv", index=False)
table.to_csv(folder / "flowers.tsv", index=False, sep="\t")
table.to_json(folder / "flowers.jsonl", orient="records", lines=True)
for codec in ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]:
    pq.write_table(pa.Table.from_pandas(table), folder / f"flowers-{codec}.parquet", compression=codec, row_group_size=10)
# The second form of pages, and an encoding of its own for each column.
encodings = ["BYTE_STREAM_SPLIT", "PLAIN", "DELTA_BINARY_PACKED", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"]
pq.write_table(
    pa.Table.from_pandas(table),
    folder / "flowers-pages2.parquet",
    compression="gzip",
    row_group_size=10,
    data_page_version="2.0",
    use_dictionary=False,
    column_encoding=dict(zip(table.columns, encodings, strict=True)),
)
holes = table.copy()
holes.loc[3, "width"] = np.nan
holes.loc[7, "place"] = None
holes.to_csv(folder / "holes.csv", index=False)
lists = pa.table({"x": pa.array(random.standard_normal((size, 5)).tolist(), pa.list_(pa.float32())), "y": labels})
pq.write_table(lists, folder / "lists.parquet")
rows = [[1.0, 2.0, 3.0], [4.0, None, 6.0], [7.0, 8.0, float("nan")], None, [10.0, 20.0, 30.0]]
flags = [[True, False], [False, True], [True, True], [None, True], [False, False]]
gaps = pa.table({"x": pa.array(rows, pa.list_(pa.float32())), "flags": pa.array(flags, pa.list_(pa.bool_())), "y": [0, 1, 0, 1, 1]})
pq.write_table(gaps, folder / "lists-gaps.parquet")
pd.DataFrame({"a": [1, 2, 3], "b": [4.0, 5.0, 6.0], "y": [0, 1, 1]}, index=[10, 20, 30]).to_parquet(folder / "indexed.parquet")

# Images of 6 x 8 pixels and others, one colour for each class.
for i, label in enumerate(labels):
    part = ["train", "train", "train", "val", "test"][(i // classes) % 5]
    place = folder / "pictures" / part / names[label]
    place.mkdir(parents=True, exist_ok=True)
    pixels = np.clip(random.integers(0, 60, (12, 10 + i % 5, 3)) + 160 * np.eye(3, dtype=int)[label], 0, 255).astype(np.uint8)
    form = ["png", "jpg", "webp"][(i // classes) % 3]
    Image.fromarray(pixels).save(place / f"{i:02}.{form}", quality=95)
exact = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
single = folder / "exact"
for name in ["a", "b"]:
    (single / name).mkdir(parents=True, exist_ok=True)
Image.fromarray(exact).save(single / "a" / "colour.png")
Image.fromarray(exact).convert("L").save(single / "b" / "grey.png")
(folder / "exact.json").write_text(json.dumps({"pixels": exact.tolist(), "grey": np.asarray(Image.fromarray(exact).convert("L")).tolist()}))

# Arrays: every type that numpy writes, in both orders of bytes and axes, and labels in every form.
whole = random.integers(0, 100, (size, 5))
forms = {}
for kind in ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]:
    forms[kind] = whole.astype(kind)
forms["bool"] = whole % 2 == 0
forms["big-int32"] = whole.astype(">i4")
forms["big-float64"] = whole.astype(">f8")
forms["fortran"] = np.asfortranarray(whole.astype(np.float32))
for kind, array in forms.items():
    np.savez(folder / f"array-{kind}.npz", x=array, y=labels.astype(np.int64))
onehot = np.eye(classes)[labels]
for kind, y in {"column": labels[:, None], "uint8": labels.astype(np.uint8), "onehot": onehot, "onehot-int": onehot.astype(np.int64)}.items():
    np.savez_compressed(folder / f"labels-{kind}.npz", x=whole.astype(np.float32), y=y)
(folder / "whole.json").write_text(json.dumps({"x": whole.tolist(), "y": labels.tolist()}))
for name, shape in {"last": (size, 6, 8, 3), "first": (size, 3, 6, 8)}.items():
    np.savez_compressed(folder / f"images-{name}.npz", x=(random.integers(0, 256, shape)).astype(np.uint8), y=labels)
(folder / "npy").mkdir(exist_ok=True)
np.save(folder / "npy" / "x_train.npy", whole.astype(np.float32))
np.save(folder / "npy" / "y_train.npy", labels)
np.save(folder / "npy" / "x_test.npy", whole[:6].astype(np.float32))
np.save(folder / "npy" / "y_test.npy", labels[:6])
save_file({"x": whole.astype(np.float16), "y": labels}, folder / "arrays.safetensors")
idx = folder / "idx"
idx.mkdir(exist_ok=True)


def write_idx(path, array, code):
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()
    (idx / path).write_bytes(gzip.compress(data, mtime=0) if path.endswith(".gz") else data)


pixels = random.integers(0, 256, (size, 6, 8)).astype(np.uint8)
write_idx("train-images-idx3-ubyte.gz", pixels, 8)
write_idx("train-labels-idx1-ubyte", labels.astype(np.uint8), 8)
write_idx("t10k-images-idx3-ubyte", pixels[:6], 8)
write_idx("t10k-labels-idx1-ubyte.gz", labels[:6].astype(np.uint8), 8)
floats = folder / "idx-types"
floats.mkdir(exist_ok=True)
idx = floats
write_idx("x-idx2-float", whole.astype(">f4"), 13)
write_idx("y-idx1-int", labels.astype(">i4"), 12)

# Images in Parquet: as Hugging Face's datasets write them, with names of classes, and as plain bytes with labels as texts.


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


encoded = [
    png(np.clip(random.integers(0, 60, (6, 8, 3)) + 160 * np.eye(3, dtype=int)[label], 0, 255).astype(np.uint8))
    for label in labels
]
struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
structs = pa.array([{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(encoded)], struct_type)
features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names.tolist()}}
pictures = pa.table({"image": structs, "label": pa.array(labels, pa.int64())})
kept = {"huggingface": json.dumps({"info": {"features": features}})}
pq.write_table(pictures.replace_schema_metadata(kept), folder / "pictures.parquet", row_group_size=10)
plain = pa.table({"id": labels, "picture": pa.array(encoded, pa.binary()), "label": names[labels]})
pq.write_table(plain, folder / "pictures-plain.parquet")
holes = [{"bytes": encoded[0], "path": "0.png"}, None, {"bytes": None, "path": "elsewhere/2.png"}, {"bytes": b"no image", "path": "3.png"}]
for i, row in enumerate(holes[1:]):
    rows = pa.table({"image": pa.array([holes[0], row, holes[0]], struct_type), "label": pa.array([0, 1, 1], pa.int64())})
    pq.write_table(rows, folder / f"pictures-{['missing', 'elsewhere', 'broken'][i]}.parquet")

# Images of 6 x 8 pixels in every form that Pillow writes, and their colours on black.
forms_folder = folder / "forms"
for name in ["a", "b"]:
    (forms_folder / name).mkdir(parents=True, exist_ok=True)
colour = Image.fromarray(exact)
opacity = Image.fromarray(np.where(np.arange(48).reshape(6, 8) % 3 == 0, 0, 255).astype(np.uint8))
see_through = colour.copy()
see_through.putalpha(opacity)
grey_opacity = colour.convert("LA")
grey_opacity.putalpha(opacity)
turned = Image.Exif()
turned[0x112] = 6
wide = np.asarray(colour.convert("L")).astype(np.uint16) * 257
on_black = Image.composite(colour, Image.new("RGB", colour.size), opacity)
grey_on_black = Image.composite(colour.convert("L"), Image.new("L", colour.size), opacity).convert("RGB")
written = {
    "a/grey.png": (colour.convert("L"), colour.convert("L").convert("RGB"), {}),
    "a/grey16.png": (Image.fromarray(wide), colour.convert("L").convert("RGB"), {}),
    "a/alpha.png": (see_through, on_black, {}),
    "a/grey-alpha.png": (grey_opacity, grey_on_black, {}),
    "a/palette.png": (colour.convert("P", palette=Image.Palette.ADAPTIVE), None, {}),
    "a/one-bit.png": (colour.convert("1"), colour.convert("1").convert("RGB"), {}),
    "b/lossless.webp": (colour, colour, {"lossless": True}),
    "b/colour.tif": (colour, colour, {}),
    "b/still.gif": (colour.convert("P", palette=Image.Palette.ADAPTIVE), None, {}),
    "b/cmyk.jpg": (Image.new("RGB", (8, 6), (40, 120, 200)).convert("CMYK"), Image.new("RGB", (8, 6), (40, 120, 200)), {"quality": 100}),
    "b/turned.png": (colour.transpose(Image.Transpose.ROTATE_90), colour, {"exif": turned}),
    "b/PHOTO.JPEG": (Image.new("RGB", (8, 6), (200, 120, 40)), Image.new("RGB", (8, 6), (200, 120, 40)), {"quality": 100}),
}
pixels = {}
for path, (image, seen, options) in written.items():
    image.save(forms_folder / path, **options)
    pixels[path] = np.asarray((seen or image.convert("RGB"))).tolist()
(folder / "forms.json").write_text(json.dumps(pixels))
