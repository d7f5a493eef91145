"""Models in files: the same bits again, all or nothing, and no file that does harm."""

import errno
import json
import math
import os
import pickle
import random
import stat
import struct
import threading
import zipfile

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from memory_use import linux_only

from microgradc import Value, __version__, nn
from microgradc.checkpoint import load, save

NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -2.2e-308, 1.7976931348623157e308, 1 / 3, -1.0]


def make_model(seed=0, nouts=(4, 2)):
    return nn.MLP(3, list(nouts), seed=seed)


def bits(model):
    return struct.pack(f"{len(model.parameters())}d", *(p.data for p in model.parameters()))


def pack(header, data=b"", length=None):
    """Return a safetensors file: the length of the header, the header, the data."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape, start, end, dtype="F64"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_the_same_bits_again(path):
    model, copy = make_model(1), make_model(2)
    for p, number in zip(model.parameters(), NUMBERS, strict=False):
        p.data = number
    model.parameters()[-1].data = struct.unpack("d", b"\1\2\3\4\5\6\xf8\xff")[0]   # a nan that carries something
    save(model, path)
    assert load(copy, path) is copy
    assert bits(copy) == bits(model)


def test_what_is_in_the_file(path):
    model = make_model()
    model.extra = Value(2.5)
    save(model, path)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"format": f"microgradc {__version__}"}
    entries, state = safetensors.numpy.load_file(path), model.state_dict()
    assert entries.keys() == state.keys()
    assert entries["extra"].shape == ()
    for name, array in entries.items():
        assert array.dtype == np.float64
        assert array.shape == state[name].shape
        assert array.tobytes() == state[name].tobytes()
    first = path.read_bytes()
    save(model, path)
    assert path.read_bytes() == first


def test_pytorch_reads_the_file(path):
    pytest.importorskip("torch", reason="reads a file with PyTorch")
    import safetensors.torch

    model = make_model()
    save(model, path)
    entries = safetensors.torch.load_file(path)
    assert {name: tensor.tolist() for name, tensor in entries.items()} == {
        n: a.tolist() for n, a in model.state_dict().items()
    }


def test_paths(path, monkeypatch):
    save(make_model(1), str(path))
    assert bits(load(make_model(2), str(path))) == bits(load(make_model(3), path)) == bits(make_model(1))
    monkeypatch.chdir(path.parent)
    save(make_model(4), "other.safetensors")
    assert bits(load(make_model(), path.parent / "other.safetensors")) == bits(make_model(4))


def test_models_of_other_kinds(path):
    class Table:
        def __init__(self, array):
            self.array = array

        def state_dict(self):
            return {"table": self.array}

        def load_state_dict(self, state_dict):
            self.array = state_dict["table"]

    across = np.arange(6).reshape(2, 3).T   # integers, and not in rows
    save(Table(across), path)
    np.testing.assert_array_equal(load(Table(None), path).array, across)
    with pytest.raises(TypeError, match="complex128"):
        save(Table(np.array([1j])), path)
    with pytest.raises(TypeError, match=r"model must be a Module, or have a method state_dict, got \[Value"):
        save([Value(1.0)], path)
    with pytest.raises(TypeError, match="model must be a Module"):
        save(nn.MLP, path)
    with pytest.raises(TypeError, match=r"have a method load_state_dict, got PosixPath|got WindowsPath"):
        load(path, make_model())
    with pytest.raises(ValueError, match="this Activation has no parameters to save"):
        save(nn.Activation("relu"), path)


def test_float32_and_float16_are_converted(path):
    model = nn.Neuron(3)
    w = np.array([1 / 3, math.inf, 0], np.float32)
    w.view(np.uint32)[2] = 0x7F800001   # a signalling nan
    safetensors.numpy.save_file({"w": w, "b": np.array(0.1, np.float16)}, path)
    load(model, path)
    assert [p.data for p in model.w[:2]] == [float(np.float32(1 / 3)), math.inf]
    assert math.isnan(model.w[2].data)
    assert model.b.data == float(np.float16(0.1))


@pytest.mark.parametrize("fault", ["fsync", "replace", "copymode", "KeyboardInterrupt"])
def test_a_save_that_fails_leaves_the_old_file(path, monkeypatch, fault):
    def fail(*arguments):
        raise KeyboardInterrupt if fault == "KeyboardInterrupt" else OSError(errno.ENOSPC, "No space left on device")

    save(make_model(1), path)
    target = {"copymode": "shutil.copymode", "KeyboardInterrupt": "os.fsync"}.get(fault, f"os.{fault}")
    monkeypatch.setattr(target, fail)
    with pytest.raises(KeyboardInterrupt if fault == "KeyboardInterrupt" else OSError):
        save(make_model(2), path)
    assert bits(load(make_model(3), path)) == bits(make_model(1))
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk(path, run_python):
    """The limit on the size of a file stands for it: the write itself ends half way."""
    save(make_model(1), path)
    run_python(
        "import resource, signal, sys; from microgradc import checkpoint, nn\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: checkpoint.save(nn.MLP(10, [100, 1]), sys.argv[1])\n"
        "except OSError: sys.exit()\n"
        "sys.exit('it was saved')",
        str(path),
    )
    assert bits(load(make_model(3), path)) == bits(make_model(1))
    assert os.listdir(path.parent) == [path.name]


def test_one_who_reads_meanwhile_sees_a_whole_file(path):
    models = [make_model(1, (30, 2)), make_model(2, (30, 2))]
    save(models[0], path)
    done = threading.Event()

    def write():
        for i in range(50):
            save(models[i % 2], path)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    expected, seen = {bits(m) for m in models}, set()
    while not done.is_set():
        seen.add(bits(load(make_model(3, (30, 2)), path)))
    writer.join()
    assert seen
    assert seen <= expected


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_other_files(path, umask):
    before = os.umask(umask)
    try:
        save(make_model(), path)
        with open(path.parent / "ordinary", "w"):
            pass
        assert (
            stat.S_IMODE(path.stat().st_mode)
            == stat.S_IMODE((path.parent / "ordinary").stat().st_mode)
            == 0o666 & ~umask
        )
        path.chmod(0o640)   # kept, as it is by an ordinary open(path, "w")
        save(make_model(), path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_link_stays_a_link(path):
    link = path.parent / "link"
    link.symlink_to(path)
    save(make_model(1), link)
    assert link.is_symlink()
    assert bits(load(make_model(2), path)) == bits(make_model(1))


def test_no_file(path):
    model = make_model()
    before = bits(model)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load(model, path)
    with pytest.raises(FileNotFoundError, match=r"no such folder.*nowhere"):
        save(model, path.parent / "nowhere" / "model.safetensors")
    for f in (save, load):
        with pytest.raises(ValueError, match=r"path must be that of a file, got .*, which is a folder"):
            f(model, path.parent)
        with pytest.raises(ValueError, match="device or pipe"):
            f(model, os.devnull)
    os.mkfifo(path)
    with pytest.raises(ValueError, match="device or pipe"):
        load(model, path)
    assert bits(model) == before
    assert not os.path.isfile(os.devnull)


def test_another_architecture(path):
    save(make_model(1), path)
    model = nn.MLP(3, [5, 2])
    before = bits(model)
    with pytest.raises(ValueError, match="does not fit MLP") as caught:
        load(model, path)
    message = str(caught.value)
    assert str(path) in message
    assert "layers.0.neurons.4.w is missing" in message
    assert "layers.1.neurons.0.w has shape (4,), the model needs (5,)" in message
    with pytest.raises(ValueError, match="unexpected"):
        load(nn.MLP(3, [4]), path)
    assert bits(model) == before


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, bool, np.complex64])
def test_other_dtypes(path, dtype):
    safetensors.numpy.save_file({"w": np.zeros(3, dtype), "b": np.zeros((), dtype)}, path)
    refused(nn.Neuron(3), path, "b must hold floating-point numbers, F64, F32, F16, got")


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was run')",)


A = entry([1], 0, 8)
FOREIGN = {
    "empty": b"",
    "text": b"layers.0.w = 1, 2, 3\n" * 10,
    "pickle": pickle.dumps({"w": Bomb()}),
    "zeros": bytes(100),
    "a longest header": pack({}, length=2**63),
    "a header longer than 2**63": pack({}, length=2**64 - 1),
    "a header longer than the file": pack({"w": A}, bytes(8), length=500),
    "no header": pack(b""),
    "a list": pack([]),
    "null": pack(b"null"),
    "deep lists": pack(b"[" * 100_000),
    "deep dicts": pack(b'{"w":' * 100_000),
    "deep extra field": pack(b'{"w":{"x":' + b"[" * 100_000),
    "no UTF-8": pack(b'{"\xff":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', bytes(8)),
    "half a surrogate pair": pack(b'{"\\ud800":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', bytes(8)),
    "overlap": pack({"w": A, "b": A}, bytes(8)),
    "half an overlap": pack({"w": entry([2], 0, 16), "b": entry([2], 8, 24)}, bytes(24)),
    "a gap": pack({"w": A, "b": entry([1], 16, 24)}, bytes(24)),
    "more data": pack({"w": A}, bytes(9)),
    "less data": pack({"w": A}, bytes(7)),
    "backwards": pack({"w": entry([1], 8, 0)}, bytes(8)),
    "offsets near 2**64": pack({"w": entry([1], 2**64 - 9, 2**64 - 1)}),
    "offsets past 2**64": pack({"w": entry([1], 2**64, 2**64 + 8)}, bytes(8)),
    "offsets below 0": pack({"w": entry([1], -8, 0)}, bytes(8)),
    "a negative shape": pack({"w": entry([-1], 0, 8)}, bytes(8)),
    "two negative sizes": pack({"w": entry([-1, -1], 0, 8)}, bytes(8)),
    "a huge shape": pack({"w": entry([2**40], 0, 8)}, bytes(8)),
    "a shape that overflows": pack({"w": entry([2**62, 2**62], 0, 8)}, bytes(8)),
    "a shape of 0 times 2**63": pack({"w": entry([0, 2**63], 0, 0)}),
    "a shape of 0 times 2**64 - 1": pack({"w": entry([0, 2**64 - 1], 0, 0)}),
    "a hundred axes": pack({"w": entry([1] * 100, 0, 8)}, bytes(8)),
    "a float shape": pack({"w": entry([1.0], 0, 8)}, bytes(8)),
    "no shape": pack({"w": {"dtype": "F64", "data_offsets": [0, 8]}}, bytes(8)),
    "no such dtype": pack({"w": entry([1], 0, 8, "F65")}, bytes(8)),
    "a name twice": pack(f'{{"w":{json.dumps(entry([2], 0, 8, "F32"))},"w":{json.dumps(A)}}}'.encode(), bytes(8)),
    "a field twice": pack(b'{"w":{"dtype":"F64","shape":[1],"shape":[1],"data_offsets":[0,8]}}', bytes(8)),
    "an empty header": pack(b"{}", length=0),
    "white space first": pack(b" {}"),
    "a byte order mark": pack(b"\xef\xbb\xbf{}"),
    "UTF-16": pack("{}".encode("utf-16")),
    "nan as an offset": pack(b'{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,NaN]}}', bytes(8)),
    "minus 0 as an offset": pack(b'{"w":{"dtype":"F64","shape":[1],"data_offsets":[-0,8]}}', bytes(8)),
    "an offset of 10,000 digits": pack(b'{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,%s]}}' % (b"8" * 10_000)),
    "true as a shape": pack({"w": entry([True], 0, 8)}, bytes(8)),
    "a text as a shape": pack({"w": entry("1", 0, 8)}, bytes(8)),
    "a dict as a shape": pack({"w": entry({"1": 1}, 0, 8)}, bytes(8)),
    "three offsets": pack({"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8, 8]}}, bytes(8)),
    "a list as an entry": pack({"w": ["F64", [1], [0, 8]]}, bytes(8)),
    "a list as a dtype": pack({"w": entry([1], 0, 8, ["F64"])}, bytes(8)),
    "data that begins late": pack({"w": entry([1], 8, 16)}, bytes(16)),
    "metadata of numbers": pack({"__metadata__": {"a": 1}, "w": A}, bytes(8)),
}


def refused(model, path, match=None):
    before = bits(model)
    with pytest.raises(ValueError, match=match) as caught:
        load(model, path)
    assert str(path) in str(caught.value)
    assert bits(model) == before


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_and_hostile_files(path, kind):
    path.write_bytes(FOREIGN[kind])
    refused(
        nn.Neuron(1), path, "not a safetensors file, or a damaged one: .|a name comes twice|dimension|array is too big"
    )


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "I64"])
def test_dtypes_that_numpy_does_not_have(path, dtype):
    size = {"BF16": 2, "I64": 8}.get(dtype, 1)
    path.write_bytes(pack({"w": entry([1], 0, size, dtype), "b": entry([], size, 2 * size, dtype)}, bytes(2 * size)))
    refused(nn.Neuron(1), path, f"b must hold floating-point numbers, F64, F32, F16, got {dtype}")


def test_a_file_of_pytorch_s_own(path):
    torch = pytest.importorskip("torch", reason="writes a file with PyTorch")
    torch.save({"w": torch.zeros(1), "b": torch.zeros(())}, path)
    assert zipfile.is_zipfile(path)
    refused(nn.Neuron(1), path, "it is not a safetensors file")


def mutations(content, rng):
    """Yield 200 damaged copies of a file."""
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(40):
        flipped = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
        yield content[: rng.randrange(len(content))]
        k = rng.randrange(len(content))
        yield content[:k] + rng.randbytes(rng.randint(1, 20)) + content[k:]
        edited = bytearray(content)
        edited[rng.randrange(header)] = rng.choice(b'0123456789"[]{},:-. eEFIx\\')
        yield bytes(edited)
        k = rng.randrange(8, header)
        text = (
            content[8:k]
            + rng.choice([b"0", b"9" * 30, b"-", b"null", b'"a":1,', b"[[", b""])
            + content[k + rng.randint(0, 3) : header]
        )
        yield pack(text, content[header:])


def test_damaged_files(path):
    save(make_model(1), path)
    model, loaded, refusals = make_model(2), 0, 0
    for content in mutations(path.read_bytes(), random.Random(7)):
        path.write_bytes(content)
        before, message = bits(model), None
        try:
            load(model, path)
        except ValueError as error:
            message = str(error)
        if message is None:   # only numbers, or what nobody reads, were changed: every parameter is what the file says
            entries = safetensors.numpy.load(content)
            expected = {name: array.tobytes() for name, array in entries.items()}
            assert {name: array.tobytes() for name, array in model.state_dict().items()} == expected
            loaded += 1
        else:
            assert str(path) in message
            assert bits(model) == before
            refusals += 1
    assert loaded + refusals == 200
    assert loaded > 5
    assert refusals > 100


@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if "twice" not in kind])
def test_safetensors_refuses_the_same_files(kind):
    """All but these: sizes and numbers of dimensions that NumPy does not have, and what the format's text rules out."""
    try:
        safetensors.deserialize(FOREIGN[kind])
    except safetensors.SafetensorError:
        return
    not_numpy_s = {"a hundred axes", "a shape of 0 times 2**63", "a shape of 0 times 2**64 - 1"}
    assert kind in not_numpy_s | {"white space first", "a list as an entry"}


def test_what_the_format_allows(path):
    """Entries in any order and of size 0, fields that nobody knows, white space after the header."""
    header = {"b": entry([], 8, 16) | {"later": None}, "w": entry([1], 0, 8), "__metadata__": {"a": "b"}}
    path.write_bytes(pack(json.dumps(header).encode() + b"  \n", struct.pack("2d", 1.5, 2.5)))
    model = load(nn.Neuron(1), path)
    assert (model.w[0].data, model.b.data) == (1.5, 2.5)
    safetensors.numpy.save_file({"w": np.ones(1), "b": np.ones(()), "none": np.zeros((3, 0))}, path)
    refused(nn.Neuron(1), path, "none is unexpected")


MEMORY = """
import sys, microgradc
import numpy, safetensors
from microgradc import nn
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) << 10
class Table:
    def load_state_dict(self, state):
        self.state = state
model = {"neuron": nn.Neuron(1), "table": Table()}[sys.argv[2]]
before = peak()
try:
    microgradc.load(model, sys.argv[1])
except ValueError as error:
    assert len(str(error)) < 5_000
print(peak() - before)
"""
GIGABYTE = 1 << 30


@linux_only
@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"", 2 * GIGABYTE),
        (struct.pack("<Q", 50_000_000), 2 * GIGABYTE),   # a header of zeros
        (pack({"x": entry([1 << 27], 0, 1 << 28, "F16")}), None),
        (pack({"w": entry([1 << 29], 0, 1 << 31, "F32"), "b": entry([], 1 << 31, (1 << 31) + 8)}), None),
        (pack({"w": entry([1 << 28], 0, 1 << 29, "BF16")}), None),
        (pack({"w": entry([1], 0, 8), "b": entry([], 8, 16), "x": entry([1 << 28], 16, 16 + (1 << 31))}), None),
        (pack({"w": entry([1 << 28], 0, 1 << 31)}), GIGABYTE),
    ],
    ids=["zeros", "a long header", "foreign float16", "another shape", "another dtype", "one too many", "cut off"],
)
def test_a_wrong_file_costs_no_memory(path, run_python, head, size):
    """The files are sparse: they take no place on the disk."""
    path.write_bytes(head)
    if size is None:
        entries = json.loads(head[8:])
        size = len(head) + max(e["data_offsets"][1] for e in entries.values())
    os.truncate(path, size)
    assert int(run_python(MEMORY, str(path), "neuron")) < 120_000_000


@linux_only
def test_numbers_are_held_once(path, run_python):
    safetensors.numpy.save_file({"w": np.ones(1 << 24)}, path)
    assert int(run_python(MEMORY, str(path), "table")) < 1.2 * 8 * (1 << 24)


def test_names_in_messages_are_clean(path):
    names = ["\x1b[31mred\x07", "a\nb\r\0", "\u202eeman", "x" * 100_000, "\u2028"]
    for dtype in ("F64", "I64", "F65", "x\ny"):
        header = {name: entry([1], 8 * i, 8 * i + 8, dtype) for i, name in enumerate(names)}
        path.write_bytes(pack(header, bytes(8 * len(names))))
        with pytest.raises(ValueError, match="cannot load") as caught:
            load(nn.Neuron(1), path)
        assert len(str(caught.value)) < 2_000
        assert str(caught.value).replace("\n", "").isprintable()
    with pytest.raises(ValueError, match=r"\\x1b\[31mred\\x07 is unexpected") as caught:
        nn.Neuron(1).load_state_dict(dict.fromkeys(names, 1.0))
    assert str(caught.value).count("\n") == 7   # a line each, and w and b are missing
    path.write_bytes(pack(b'{"%s":1,"%s":2}' % ((b"\\u001b" * 9_000,) * 2)))
    with pytest.raises(ValueError, match="a name comes twice") as caught:
        load(nn.Neuron(1), path)
    assert len(str(caught.value)) < 1_000
    assert "\x1b" not in str(caught.value)


def test_a_file_that_becomes_shorter_while_it_is_read(path, monkeypatch):
    save(make_model(1), path)
    monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result((0,) * 6 + (path.stat().st_size + 8,) + (0,) * 3))
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    last = max((e for e in header.values() if "dtype" in e), key=lambda e: e["data_offsets"][1])
    last["data_offsets"][1] += 8
    last["shape"] = [last["shape"][0] + 1]
    altered = json.dumps(header).encode()
    path.write_bytes(pack(altered, content[8 + length :]))

    class Anything:
        def load_state_dict(self, state):
            raise AssertionError("it was read")

    with pytest.raises(ValueError, match="became shorter"):
        load(Anything(), path)
