"""The few things about protobuf that writing a trained model needs."""

from __future__ import annotations

from collections.abc import Iterator

_BYTES = 2
_FIXED = {1: 8, 5: 4}


def varint(number: int, width: int = 1) -> bytes:
    """A number as protobuf writes it, in at least `width` bytes."""
    out = bytearray()
    while number > 0x7F or len(out) < width - 1:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, payload: bytes, width: int = 1) -> bytes:
    """A field that holds bytes. `width`: that of its length."""
    return varint(number << 3 | _BYTES) + varint(len(payload), width) + payload


def metadata(key: str, value: str) -> bytes:
    """An entry of a model's metadata_props: fields of a message may stand in any order, so it goes to the end of the file."""
    return field(14, field(1, key.encode()) + field(2, value.encode()))


def _records(message: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number (0 for one that holds no bytes), start, start of the payload, end."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _number(message, at)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _number(message, at)
            yield tag >> 3, start, at, at + length
            at += length
            continue
        at = _number(message, at)[1] if kind == 0 else at + _FIXED[kind]
        yield 0, start, at, at


def _number(message: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


_LOCATION = (7, 5, 13)
"""Where a model names data files: graph, initializer, external_data."""


def with_data_file(model: bytearray, before: str, after: str) -> bytearray:
    """A model whose external initializers in one data file name another one."""
    old, new = (field(1, b"location") + field(2, name.encode()) for name in (before, after))
    return bytearray(_replaced(memoryview(model), _LOCATION, old, new))


def _replaced(message: memoryview, path: tuple[int, ...], old: bytes, new: bytes) -> bytes:
    if not path:
        return new if message == old else bytes(message)
    out = bytearray()
    for number, start, payload, end in _records(message):
        if number != path[0]:
            out += message[start:end]
            continue
        made = _replaced(message[payload:end], path[1:], old, new)
        # Lengths stay as wide as sorth-onnx keeps them.
        is_changed = made != message[payload:end]
        out += field(number, made, payload - start - len(varint(number << 3))) if is_changed else message[start:end]
    return bytes(out)
