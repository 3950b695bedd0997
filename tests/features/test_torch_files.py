"""Files of PyTorch, as platonic-rep writes them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is an extra")

from jaxalign.features import FeatureFileError, load, save  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_features_of_one_tensor(tmp_path, dtype):
    feats = torch.randn(6, 3, 4).to(dtype)
    torch.save(
        {"feats": feats, "num_params": 63, "bpb": 1.25, "loss": torch.tensor([1.0, 2.0] * 3), "mask": torch.ones(6, 9)},
        tmp_path / "model.pt",
    )
    layers = load(tmp_path / "model.pt")
    assert list(layers) == ["layer0", "layer1", "layer2"]
    assert str(layers["layer0"].dtype) == str(dtype).removeprefix("torch.")
    np.testing.assert_array_equal(layers["layer2"].astype(np.float32), feats[:, 2].float().numpy())
    assert dict(layers.facts) == {"parameters": 63, "bits_per_byte": 1.25, "loss": 1.5}


def test_features_of_layers_of_other_widths_and_of_plain_mappings(tmp_path):
    feats = [torch.randn(5, 3), torch.randn(5, 7)]
    torch.save({"feats": feats, "bpb": torch.tensor(0.5)}, tmp_path / "model.pt")
    layers = load(tmp_path / "model.pt")
    np.testing.assert_array_equal(layers["layer1"], feats[1].numpy())
    assert layers.facts["bits_per_byte"] == 0.5
    torch.save({"a": feats[0], "b": feats[1], "n": torch.ones(5), "name": "x"}, tmp_path / "plain.pt")
    plain = load(tmp_path / "plain.pt")
    assert (list(plain), dict(plain.facts)) == (["a", "b"], {"name": "x"})
    torch.save(feats[0], tmp_path / "tensor.pt")
    assert list(load(tmp_path / "tensor.pt")) == ["layer0"]
    torch.save({"feats": feats[0]}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(load(tmp_path / "old.pt")["layer0"], feats[0].numpy())


class Evil:
    ran = False

    def __reduce__(self):
        return (Evil.run, ())

    @staticmethod
    def run():
        Evil.ran = True


def test_no_code_is_run(tmp_path):
    torch.save({"feats": torch.ones(2, 2), "x": Evil()}, tmp_path / "model.pt")
    with pytest.raises(FeatureFileError, match=r"model.pt: is damaged, or holds other objects than .* could run code$"):
        load(tmp_path / "model.pt")
    assert not Evil.ran


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"feats": torch.ones(3)}, r"feats must be \(examples, layers, features\), or a list of layers, got \(3,\)"),
        ({"feats": "none"}, "or a list of layers, got str"),
        ({"n": 3}, r"there are no features: 'feats', or matrices by name, got \['n'\]"),
        ([1, 2], "must hold a mapping with 'feats', or a tensor, got list"),
        ({"feats": [torch.ones(3, 2), torch.ones(4, 2)]}, "same number of rows"),
        ({"feats": [torch.ones(3, 2), [1.0, 2.0]]}, r"list of \(examples, features\), got \[\(3, 2\), 'list'\]"),
        ({1: torch.ones(3, 2), "1": torch.zeros(3, 2)}, r"names of matrices must differ as texts, got \[1, '1'\]"),
    ],
)
def test_files_without_features(tmp_path, content, message):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(FeatureFileError, match=f"model.pt: {message}|model.pt: .*{message}"):
        load(tmp_path / "model.pt")


def test_damage_and_writing(tmp_path):
    torch.save({"feats": torch.ones(3, 2)}, tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(FeatureFileError, match=r"model.pt: not a PyTorch file, or truncated or damaged"):
        load(tmp_path / "model.pt")
    with pytest.raises(FeatureFileError, match=r"\.pt files are read, not written"):
        save(tmp_path / "model.pt", {"x": np.ones((2, 2))})
