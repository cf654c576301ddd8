"""Documents: what two readers could understand differently is refused, with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.documents import VALUES, load_json, load_yaml, read_json, read_yaml
from dfbench.errors import DataError

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "here, line 3: the key 'a' is there twice"),
        ("x:\n  - {k: 1, k: 1}\n", "here, line 2: the key 'k' is there twice"),
        ("1: a\n0x1: b\n", "here, line 2: the key '0x1' is there twice"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", "here, line 2: the key '<<' is there twice"),
        ("lr: .inf\n", "here, line 1: .inf is not a finite number"),
        ("lr: -.INF\n", "here, line 1: -.INF is not a finite number"),
        ("a: [.nan]\n", "here, line 1: .nan is not a finite number"),
        ("a: 1.0e+999\n", "here, line 1: 1.0e+999 is not a finite number"),
        ("a: &a [*a]\n", "here, line 1: an alias contains itself"),
        ("? [1, 2]\n: 3\n", "here, line 1: a key is not a single word or number"),
        (LAUGHS, f"here, line 1: more than {VALUES} values once its aliases are expanded"),
        (MERGES, f"here, line 1: more than {VALUES} values once its aliases are expanded"),
        ("a: 2024-13-41\n", "here: not YAML (month must be in 1..12)"),
        ("a: [1\nb: 2\n", "here, line 2: not YAML (expected ',' or ']', but got ':')"),
        ("a: 1\n---\na: 2\n", "here, line 2: not YAML (but found another document)"),
        ("a: !!python/object:os.system {}\n", "not YAML (could not determine a constructor for the tag"),
        ("[" * 5000, "here: not YAML (nested too deeply)"),
        ("a: \x07\n", "here: not YAML (unacceptable character"),
    ],
)
def test_yaml_that_two_readers_could_understand_differently_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        load_yaml(text, origin="here")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_merged_keys_that_a_mapping_overrides_are_not_repeated_keys() -> None:
    text = "c: &c {k: 1}\nx:\n  y: &a {<<: *c, k: 2}\nz: {<<: *a, k: 3, n: ~}\n"
    assert load_yaml(text, origin="here") == {
        "c": {"k": 1},
        "x": {"y": {"k": 2}},
        "z": {"k": 3, "n": None},
    }


def test_a_document_above_the_limit_is_not_parsed() -> None:
    assert load_yaml("a: 12", origin="here", limit=5) == {"a": 12}
    with pytest.raises(DataError, match="here: 6 characters are more than the 5 that are read of YAML"):
        load_yaml("a: 123", origin="here", limit=5)


def test_yaml_keeps_its_plain_values_and_a_byte_order_mark_is_not_part_of_a_key() -> None:
    assert load_yaml("\ufeffa: [1, 2.5, x, true, ~]\r\nb: {}\r\n", origin="here") == {
        "a": [1, 2.5, "x", True, None],
        "b": {},
    }
    assert load_yaml("", origin="here") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "here: the key 'c' is there twice in one object"),
        ('{"a": NaN}', "here: NaN is not a finite number"),
        ("[-Infinity]", "here: -Infinity is not a finite number"),
        ("[1e999]", "here: 1e999 is not a finite number"),
        ("{\n1: 2}", "here, line 2: not JSON (Expecting property name enclosed in double quotes)"),
        ("[" * 200_000, "here: not JSON (nested too deeply)"),
    ],
)
def test_json_with_repeated_keys_or_numbers_that_are_not_finite_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        load_json(text, origin="here")
    assert str(error.value) == message


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_a_file_that_cannot_be_read_is_named(read: object, tmp_path: Path) -> None:
    assert callable(read)
    with pytest.raises(DataError, match="none: there is no such file"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "latin").write_bytes(b"caf\xe9: 1")
    with pytest.raises(DataError, match=r"latin: cannot be read \(not UTF-8\)"):
        read(tmp_path / "latin")
