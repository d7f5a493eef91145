"""What is no file of a model: how soon that is seen, and what the error says."""

import pytest
from memory_use import linux_only
from test_checkpoint import MEMORY, entry, pack

from microgradc import checkpoint, checks, container, nn


@pytest.fixture
def many(tmp_path):
    path = tmp_path / "many.safetensors"
    path.write_bytes(pack({f"k{i}": entry([0], 0, 0) for i in range(50_000)}))
    return path


def test_very_many_entries_of_another_model(many, monkeypatch):
    shown, seen = checks.shown, []
    monkeypatch.setattr(checks, "shown", lambda *arguments: seen.append(arguments) or shown(*arguments))
    monkeypatch.setattr(container, "_entry", None)
    with pytest.raises(ValueError, match=r"(?s)does not fit Neuron.*w is missing.*k0 is unexpected.*and 49982 more"):
        checkpoint.load(nn.Neuron(1), many)
    assert len(seen) < 50


@pytest.mark.parametrize("size", [2, 5000])
def test_names_are_shown_in_errors_only(tmp_path, monkeypatch, size):
    class Anything:
        def load_state_dict(self, state):
            self.state = state

    path, model = tmp_path / "right.safetensors", Anything()
    path.write_bytes(pack({f"k{i}": entry([0], 0, 0) for i in range(size)}))
    monkeypatch.setattr(checks, "shown", None)
    assert len(checkpoint.load(model, path).state) == size


@linux_only
def test_very_many_entries_cost_little_memory(many, run_python):
    assert int(run_python(MEMORY, str(many), "neuron")) < 80_000_000


def test_states_of_other_things_are_not_saved(tmp_path):
    class Own:
        def state_dict(self):
            return {"settings": [{"lr": 0.1}]}

    with pytest.raises(TypeError, match=r"must be real numbers, got dtype object; .* pickle or json keep all else"):
        checkpoint.save(Own(), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
