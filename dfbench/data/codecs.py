"""Pictures through a codec and back, without a file: JPEG and H.264, the same bits whatever vector instructions run."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np

SMALLEST = 16
"""Side of the smallest picture that goes to x264, in pixels: one macroblock."""


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """Send one uint8 RGB frame (H, W, 3) through JPEG (4:2:0) of this quality, 1 to 100."""
    code = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1]


def h264(frames: np.ndarray, **options: str) -> np.ndarray:
    """Send frames through x264 (4:2:0) as one sequence.

    Sides that 4:2:0 or x264 cannot have are padded by repeating the last row or column, and cut back.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        **options: of libx264, such as ``crf="30"``.

    Returns:
        uint8 RGB (T, H, W, 3).
    """
    count, height, width = frames.shape[:3]
    wide, high = (max(side + side % 2, SMALLEST) for side in (width, height))
    if (high, wide) != (height, width):
        frames = np.pad(frames, ((0, 0), (0, high - height), (0, wide - width), (0, 0)), mode="edge")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = wide, high, "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    # cpu-independent: the same bits whatever vector instructions a processor has
    encoder.options = {**options, "threads": "1", "x264-params": "cpu-independent=1"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets, pictures = [], []
    for number, frame in enumerate(frames):
        planes = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    for packet in packets:
        pictures += decoder.decode(packet)
    pictures += decoder.decode(None)
    if len(pictures) != count:
        raise RuntimeError(f"H.264 gave {len(pictures)} of {count} frames back")
    decoded = np.stack([cv2.cvtColor(picture.to_ndarray(), cv2.COLOR_YUV2RGB_I420) for picture in pictures])
    return decoded[:, :height, :width]
