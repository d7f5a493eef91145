"""What of compiled functions can leave a process, and what is refused."""

import pytest

import microgradc
from microgradc import Value, compile, load_compiled, take


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f.safetensors"


def test_what_a_file_cannot_hold_is_refused(path):
    table = [Value(1.0), Value(2.0), Value(3.0)]
    power = compile(lambda x, n: sum([x**k for k in range(n)]), static=("n",))
    with pytest.raises(ValueError, match="static argument"):
        power.save(path, 2.0, 3)
    with pytest.raises(ValueError, match="static argument"):
        compile(lambda x, kind: x if kind == "a" else -x).save(path, 2.0, "a")
    assert not path.exists()
    compile(lambda i: take(table, i + 1)).save(path, 0)
    loaded = load_compiled(path)
    assert [loaded(0).data, loaded(1).data] == [2.0, 3.0]
    with pytest.raises(IndexError):
        loaded(2)
    compile(lambda x: microgradc.select(x > 0, x.log(), x)).save(path, 1.0)
    loaded = load_compiled(path)
    assert [loaded(-2.0).data, loaded.value_and_grad(-2.0)] == [-2.0, (-2.0, 1.0)]
