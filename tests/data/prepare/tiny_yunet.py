"""A network with YuNet's inputs and outputs that finds red squares, written as an ONNX file byte by byte.

The file of OpenCV's zoo is not ours to pass on, and OpenCV's face detector takes any network with these outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

STRIDES = (8, 16, 32)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, values: np.ndarray) -> bytes:
    kind = {"float32": 1, "int64": 7}[str(values.dtype)]
    dims = b"".join(_field(1, side) for side in values.shape)
    return dims + _field(2, kind) + _field(8, name) + _field(9, values.tobytes())


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: Sequence[int]) -> bytes:
    node = b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(3, output) + _field(4, kind)
    for name, numbers in attributes.items():
        node += _field(5, _field(1, name) + b"".join(_field(8, n) for n in numbers) + _field(20, 7))
    return node


def _value(name: str, *shape: int) -> bytes:
    sides = b"".join(_field(1, _field(1, side)) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, sides)))


def write_tiny_yunet(path: Path) -> Path:
    """Its score is the mean red of a cell of 32×32 pixels, its box the cell; smaller cells have no score."""
    nodes, tensors, outputs = [], [], []
    for stride in STRIDES:
        red = np.zeros((1, 3, 1, 1), np.float32)
        red[0, 2] = (stride == 32) / 255  # OpenCV's order is blue, green, red
        middle = np.array([0.5, 0.5, 0, 0], np.float32)
        for output, weights, bias in (
            ("cls", red, np.zeros(1, np.float32)),
            ("obj", red, np.zeros(1, np.float32)),
            ("bbox", np.zeros((4, 3, 1, 1), np.float32), middle),
            ("kps", np.zeros((10, 3, 1, 1), np.float32), np.zeros(10, np.float32)),
        ):
            name = f"{output}_{stride}"
            shape = np.array([1, -1, len(weights)], np.int64)
            for part, values in (("w", weights), ("b", bias), ("s", shape)):
                tensors.append(_tensor(f"{name}{part}", values))
            nodes += [
                _node("Conv", ["input", f"{name}w", f"{name}b"], f"{name}1", kernel_shape=[1, 1]),
                _node("AveragePool", [f"{name}1"], f"{name}2", kernel_shape=[stride, stride], strides=[stride, stride]),
                _node("Transpose", [f"{name}2"], f"{name}3", perm=[0, 2, 3, 1]),
                _node("Reshape", [f"{name}3", f"{name}s"], name),
            ]
            outputs.append(_value(name, 1, (320 // stride) ** 2, len(weights)))
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "tiny")
    graph += b"".join(_field(5, tensor) for tensor in tensors) + _field(11, _value("input", 1, 3, 320, 320))
    graph += b"".join(_field(12, output) for output in outputs)
    path.write_bytes(_field(1, 7) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 11)))
    return path
