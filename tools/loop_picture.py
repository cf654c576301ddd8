"""The picture of docs/concepts.md, by day and by night: ``python -m tools.loop_picture``."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs" / "img"
COLOURS = {
    "light": {"paper": "#fbfaf7", "sheet": "#ffffff", "ink": "#1d1c1a", "soft": "#605d56", "line": "#cfcabd",
              "accent": "#0a6560", "tint": "#dcefec", "warm": "#8a4b00", "warmth": "#fbeed9"},
    "dark": {"paper": "#141513", "sheet": "#1b1c1a", "ink": "#ebe8e1", "soft": "#a8a49a", "line": "#4a4b45",
             "accent": "#63cfc3", "tint": "#17352f", "warm": "#f0b866", "warmth": "#3a2b14"},
}  # fmt: skip
WIDTH, HEIGHT = 880, 452
STEPS = ("draw a batch", "call the model", "compute the loss", "backward", "optimizer step")
CALLS = (
    "for batch in loop.batches():",
    "    loss = own_loss(model, batch)",
    "    loop.step(loss)",
    "    # warm-up, pairs, soft labels, …",
)


def picture(colours: dict[str, str]) -> str:
    """The whole file."""
    c = colours
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{c["paper"]}"/>',
        f'<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{c["soft"]}"/></marker></defs>',
        _text(28, 40, "The usual way", c["ink"], 19, 600),
        _text(28, 62, "The framework’s loop calls your model.", c["soft"], 14),
        _box(28, 82, 330, 346, c["sheet"], c["line"]),
        _text(46, 110, "the framework’s loop", c["ink"], 14, 600),
    ]
    for k, step in enumerate(STEPS):
        y = 128 + 58 * k
        own = step in ("call the model", "compute the loss")
        out += [
            _box(46, y, 176, 40, c["tint"] if own else c["paper"], c["accent"] if own else c["line"]),
            _text(58, y + 25, step, c["ink"], 14),
            _text(236, y + 25, "yours" if own else "strategy", c["accent"] if own else c["warm"], 13),
        ]
        if k:
            out.append(_arrow(134, y - 18, 134, y - 2, c))
    out += [
        _text(404, 40, "dfbench", c["ink"], 19, 600),
        _text(404, 62, "Your loop runs, and calls what a strategy must see.", c["soft"], 14),
        _box(404, 82, 448, 200, c["tint"], c["accent"]),
        _text(422, 110, "your detector’s train()", c["ink"], 14, 600),
        _text(422, 136, "for epoch in loop.epochs(n):", c["ink"], 13, mono=True),
    ]
    for k, call in enumerate(CALLS):
        out.append(_text(422, 162 + 26 * k, "    " + call, c["ink"], 13, mono=True))
    out += [
        _box(404, 328, 448, 100, c["warmth"], c["warm"]),
        _text(422, 356, "loop → the strategy’s callbacks", c["ink"], 14, 600),
        _text(422, 380, "at batches(): stored samples join the batch", c["ink"], 13),
        _text(422, 402, "at step(): penalty, backward, projected gradients, optimizer", c["ink"], 13),
        _arrow(560, 284, 560, 324, c),
        _arrow(700, 326, 700, 286, c),
        _text(572, 310, "calls", c["soft"], 13),
        _text(712, 310, "acts, and returns", c["soft"], 13),
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def _text(x: int, y: int, text: str, fill: str, size: int, weight: int = 400, mono: bool = False) -> str:
    family = ' font-family="ui-monospace, Menlo, Consolas, monospace" xml:space="preserve"' if mono else ""
    return f'<text x="{x}" y="{y}" fill="{fill}" font-size="{size}" font-weight="{weight}"{family}>{text}</text>'


def _box(x: int, y: int, width: int, height: int, fill: str, stroke: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{stroke}"/>'


def _arrow(x0: int, y0: int, x1: int, y1: int, c: dict[str, str]) -> str:
    return f'<path d="M{x0} {y0}L{x1} {y1}" stroke="{c["soft"]}" stroke-width="1.6" fill="none" marker-end="url(#a)"/>'


def main() -> None:
    """Write both files."""
    for name, colours in COLOURS.items():
        (FOLDER / f"loop-{name}.svg").write_text(picture(colours), encoding="utf-8")


if __name__ == "__main__":
    main()
