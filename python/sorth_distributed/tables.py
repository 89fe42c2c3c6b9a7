"""Tables (.csv, .tsv, .jsonl, .parquet): rows become samples as `sorth-onnx distribute --data` learned it from its table."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .contract import Array
from .data import Column, Dataset, Parts, column_of
from .errors import RunError, unusable

_MISSING = {"", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "?"} | {
    *("#N/A N/A", "#NA", "-NaN", "-nan", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN")
}
Row = Mapping[str, Any]


def is_table(spec: str) -> bool:
    """Whether `--data` names a table, with or without its label column behind a colon."""
    return _path_of(spec).suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet")


def _path_of(spec: str) -> Path:
    found = re.fullmatch(r"(.+):[^:/\\]+", spec)
    return Path(spec if Path(spec).exists() or not found else found[1])


def load_table(spec: str, conversion: Mapping[str, Any]) -> Parts:
    """Reads a table. Raises RunError without the conversion that `distribute --data` keeps, and naming the row that does not fit."""
    path = _path_of(spec)
    table = conversion.get("table")
    if table is None:
        raise RunError(
            f"{spec}: how its columns become numbers is learned from data: distribute the run with --data {spec}, "
            "or give an .npz file"
        )
    if table.get("targets"):
        raise RunError(f"{spec}: several label columns are not read by workers: give an .npz file")
    label = table.get("label")
    data = [column["name"] for one in table["inputs"] for column in one["columns"]]
    rows: list[Row] = []
    for number, row in enumerate(_rows(path)):
        names = data + (_label_columns(label, row) if label else [])
        lacking = [name for name in names if name not in row]
        if lacking:
            raise RunError(f'{path}: there is no column "{lacking[0]}"')
        if table.get("dropsMissing") and any(_is_missing(row[name]) for name in names):
            continue
        rows.append({**row, "": number + 1})
    if not rows:
        raise RunError(f"{path}: there are no rows")
    inputs = tuple(_input(path, one, rows) for one in table["inputs"])
    return Parts(Dataset(str(path), len(rows), inputs, _label(path, label, rows) if label else None))


def _rows(path: Path) -> Iterator[Row]:
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            try:
                from pyarrow import parquet
            except ImportError as error:
                raise unusable("pyarrow", f"pip install pyarrow, which reads {path}", error) from error
            for batch in parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            if kind == ".jsonl":
                yield from (json.loads(line) for line in file if line.strip())
                return
            first = file.readline()
            said = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)
            if not said:
                file.seek(0)
            bare = re.sub(r'"[^"]*"', "", first)
            separator = said[1] if said else max(",;\t|", key=bare.count) if kind == ".csv" else "\t"
            for row in csv.DictReader(file, delimiter=separator, skipinitialspace=True):
                yield row if separator == "," else {name: _with_point(cell, separator) for name, cell in row.items()}
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error


def _with_point(cell: Any, separator: str) -> Any:
    """A number with a decimal comma; behind tabs and bars, 1,234 may be a thousand and more, and stays a text."""
    if not isinstance(cell, str) or not re.fullmatch(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*", cell):
        return cell
    if separator != ";" and re.fullmatch(r"\s*[-+]?[1-9]\d{0,2},\d{3}\s*", cell):
        return cell
    return cell.replace(",", ".")


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, list):
        return any(_is_missing(one) for one in cell)
    return cell is None or (isinstance(cell, str) and cell.strip() in _MISSING) or (isinstance(cell, float) and math.isnan(cell))


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


_TRUTHS = {"false": False, "False": False, "FALSE": False, "true": True, "True": True, "TRUE": True}
"""How tables of text write true and false, pandas and R among them."""


def _truth(cell: Any) -> bool | None:
    """True or false in a cell; None for any other value."""
    return cell if isinstance(cell, bool) else _TRUTHS.get(cell.strip()) if isinstance(cell, str) else None


def _number(path: Path, row: Row, name: str) -> float:
    cell = row[name]
    truth = _truth(cell)
    try:
        return float(cell if truth is None else truth)
    except (TypeError, ValueError):
        raise RunError(f'{path}: row {row[""]}, column "{name}" holds "{cell}", not a number') from None


def _place(path: Path, row: Row, name: str, known: Sequence[str]) -> int:
    text = _text(row[name])
    truth = _truth(text)
    if text not in known and truth is not None:
        # CSV and Parquet spell it differently.
        text = next((one for one in known if _truth(one) is truth), text)
    if text not in known:
        raise RunError(f'{path}: row {row[""]}, column "{name}" holds "{text}", none of {", ".join(known[:5])}')
    return known.index(text)


def _compact(values: Array, is_float: bool) -> Array:
    whole = not is_float and bool((values == np.floor(values)).all()) and float(np.abs(values).max(initial=0)) < 2**31
    return values.astype(np.int32 if whole else np.float32)


def _input(path: Path, given: Mapping[str, Any], rows: Sequence[Row]) -> Column:
    pieces: list[Array] = []
    for column in given["columns"]:
        name = column["name"]
        if column["kind"] == "list":
            pieces.append(_standardized(np.array([_list(path, row, column) for row in rows], np.float64), column))
        elif column["kind"] == "category":
            known = column["categories"]
            places = [None if _is_missing(row[name]) else _place(path, row, name, known) for row in rows]
            if column.get("asIndex"):
                pieces.append(np.array([0 if one is None else one for one in places], np.float64)[:, np.newaxis])
            else:
                shares = np.zeros((len(rows), len(known)))
                for index, one in enumerate(places):
                    if one is not None:
                        shares[index, one] = 1
                pieces.append(shares)
        else:
            values = np.array([_filled(path, row, column) for row in rows])
            pieces.append(_standardized(values, column)[:, np.newaxis])
    is_float = any("mean" in column for column in given["columns"])
    array = _compact(np.concatenate(pieces, axis=1), is_float).reshape(len(rows), *given["shape"])
    return column_of(given["name"], array)


def _standardized(values: Array, column: Mapping[str, Any]) -> Array:
    return (values - np.array(column["mean"])) / np.array(column["std"]) if "mean" in column else values


def _list(path: Path, row: Row, column: Mapping[str, Any]) -> Sequence[float]:
    cell, length, fills = row[column["name"]], column["length"], column.get("missing")
    if isinstance(cell, list) and len(cell) == length:
        known = [fills[place] if fills and _is_missing(one) else one for place, one in enumerate(cell)]
        if all(isinstance(one, (int, float)) for one in known) and not _is_missing(known):
            return known
    raise RunError(f'{path}: row {row[""]}, column "{column["name"]}" holds no list of {length} numbers')


def _filled(path: Path, row: Row, column: Mapping[str, Any]) -> float:
    if not _is_missing(row[column["name"]]):
        return _number(path, row, column["name"])
    if "missing" not in column:
        raise RunError(
            f'{path}: row {row[""]}, column "{column["name"]}" has no value, and the data of the run had all: '
            "distribute it with --missing"
        )
    return float(column["missing"])


def _label_columns(label: Mapping[str, Any], row: Row) -> list[str]:
    """One column, or those that are one label together (src/data/tables/joined-labels.ts)."""
    name = label["name"]
    return [name] if "length" not in label or name in row else [one.strip() for one in name.split(",")]


def _label(path: Path, given: Mapping[str, Any], rows: Sequence[Row]) -> Column:
    name, classes = given["name"], given.get("classes")
    if "length" in given:
        names = _label_columns(given, rows[0])
        several = len(names) > 1
        lists = [[_number(path, row, one) for one in names] if several else _list(path, row, given) for row in rows]
        return column_of(name, _compact(np.array(lists, np.float64), False))
    values = [_place(path, row, name, classes) if classes else _number(path, row, name) for row in rows]
    return column_of(name, _compact(np.array(values, np.float64), False))
