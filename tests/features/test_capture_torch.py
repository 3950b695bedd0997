"""Activations out of PyTorch models: those of one's own, of Hugging Face and timm, from tiny configurations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is an extra")

from jaxalign.features import FeatureFileError, capture, list_layers  # noqa: E402

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 30, size=(5, 7))
MASK = np.arange(7)[None] < np.array([7, 3, 1, 5, 7])[:, None]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
        self.relu, self.drop, self.head = torch.nn.ReLU(inplace=True), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.drop(self.relu(self.norm(self.conv(x))).mean(dim=(2, 3))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def test_layers_of_a_network_with_operations_in_place(net):
    x = RNG.normal(size=(10, 3, 8, 8)).astype(np.float32)
    net.norm.train()
    net.drop.eval()
    modes = {name: module.training for name, module in net.named_modules()}
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    found = capture(net, x, batch_size=4)
    assert list(found) == ["conv", "norm", "relu", "drop", "head"]
    assert dict(found.facts) == {"model": "Net", "parameters": 3 * 4 * 9 + 4 + 8 + 8 + 2}
    assert {name: module.training for name, module in net.named_modules()} == modes
    for name, value in net.state_dict().items():  # statistics of batches too
        assert torch.equal(value, weights[name])
    assert not any(module._forward_hooks for module in net.modules())
    net.eval()
    with torch.no_grad():
        conv = net.conv(torch.as_tensor(x))
        norm = net.norm(conv)
        expected = {"conv": conv.mean((2, 3)), "norm": norm.mean((2, 3)), "relu": norm.relu().mean((2, 3))}
        outputs = net(torch.as_tensor(x))
    for name, values in expected.items():  # before the next layer wrote over them
        np.testing.assert_allclose(found[name], values.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["head"], outputs.numpy(), rtol=1e-4, atol=1e-5)
    capture(net, torch.as_tensor(x))
    with torch.no_grad():
        assert torch.equal(outputs, net(torch.as_tensor(x)))


def test_hooks_are_gone_and_modes_restored_after_an_error(net):
    net.train()
    with pytest.raises(RuntimeError):
        capture(net, np.ones((2, 5, 8, 8), np.float32))
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_a_stopped_capture_goes_on(net, tmp_path):
    x = RNG.normal(size=(6, 3, 8, 8)).astype(np.float32)

    def two_batches():
        yield x[:2]
        yield x[2:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(net, two_batches(), out=tmp_path / "net.npz")
    found = capture(net, x, batch_size=2, out=tmp_path / "net.npz")
    whole = capture(net, x, batch_size=2)
    for name in whole:
        np.testing.assert_array_equal(found[name], whole[name])


def test_hidden_states_of_hugging_face_are_pooled_over_real_tokens():
    transformers = pytest.importorskip("transformers", reason="not a dependency")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    model = transformers.BertModel(transformers.BertConfig(vocab_size=30, **sizes))
    batches = [
        {"input_ids": TOKENS[rows], "attention_mask": MASK[rows].astype(int)} for rows in (slice(0, 3), slice(3, 5))
    ]
    model.eval()
    with torch.no_grad():
        inputs = {"input_ids": torch.as_tensor(TOKENS), "attention_mask": torch.as_tensor(MASK.astype(int))}
        states = model(**inputs, output_hidden_states=True).hidden_states
    for pool, of_row in (
        ("mean", lambda row, m: row[m].mean(0)),
        ("last", lambda row, m: row[m][-1]),
        ("cls", lambda row, m: row[0]),
    ):
        found = capture(model, batches, layers="hidden_states.*", pool=pool)
        assert list(found) == [f"hidden_states.{i}" for i in range(4)]
        for state, array in zip(states, found.values(), strict=True):
            rows = [of_row(row, m) for row, m in zip(state.numpy(), MASK, strict=True)]
            np.testing.assert_allclose(array, np.stack(rows), rtol=1e-4, atol=1e-5)
    blocks = capture(model, batches, layers="encoder.layer.?")
    last = capture(model, batches, layers="hidden_states.3")
    np.testing.assert_allclose(blocks["encoder.layer.2"], last["hidden_states.3"], rtol=1e-5)


@pytest.mark.parametrize("kind", ["GPT2", "Llama", "ViT"])
def test_other_architectures_of_hugging_face(kind):
    transformers = pytest.importorskip("transformers", reason="not a dependency")
    if kind == "GPT2":
        config = transformers.GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2, n_positions=16)
        model, batch, pattern = transformers.GPT2LMHeadModel(config), {"input_ids": TOKENS}, "transformer.h.?"
    elif kind == "Llama":
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.LlamaConfig(vocab_size=30, **sizes)
        model, batch, pattern = transformers.LlamaForCausalLM(config), {"input_ids": TOKENS}, "model.layers.?"
    else:
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.ViTConfig(image_size=8, patch_size=4, **sizes)
        images = RNG.normal(size=(5, 3, 8, 8)).astype(np.float32)
        model, batch, pattern = transformers.ViTModel(config), {"pixel_values": images}, "*layer*.?"
    found = capture(model, [batch], layers=[pattern, "hidden_states.*"], pool="cls")
    assert [name for name in found if name.startswith("hidden_states")] == [f"hidden_states.{i}" for i in range(3)]
    assert all(array.shape == (5, 16) for array in found.values())
    listed = list_layers(model, batch, layers="hidden_states.*")
    assert listed["hidden_states.0"] == ((5, 5 if kind == "ViT" else 7, 16), "float32")


def test_backbones_of_timm():
    timm = pytest.importorskip("timm", reason="not a dependency")
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 5}
    model = timm.models.vision_transformer.VisionTransformer(**sizes)
    images = RNG.normal(size=(4, 3, 16, 16)).astype(np.float32)
    found = capture(model, images, batch_size=3, layers="blocks.?", pool="cls")
    assert {name: array.shape for name, array in found.items()} == {f"blocks.{i}": (4, 24) for i in range(3)}
    resnet = capture(timm.create_model("resnet10t", pretrained=False), images, layers="layer?")
    assert [array.shape[1] for array in resnet.values()] == [64, 128, 256, 512]


@pytest.mark.parametrize(
    ("batches", "layers", "error", "message"),
    [
        (np.ones((2, 3, 8, 8), np.float32), "cnov", ValueError, "did you mean 'conv'"),
        ([["a", "b"]], "*", TypeError, "batches must hold arrays of numbers"),
    ],
)
def test_mistakes_are_named(net, batches, layers, error, message):
    with pytest.raises(error, match=message):
        capture(net, batches, layers=layers)


def test_statistics_of_batches_stay_when_they_are_used_in_training_mode(net):
    before = {name: value.clone() for name, value in net.train().state_dict().items()}
    capture(net, RNG.normal(size=(6, 3, 8, 8)).astype(np.float32), batch_size=3, evaluate=False)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_model_that_keeps_a_tensor_of_its_call_can_be_trained_afterwards():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.scale = torch.nn.Linear(4, 4), None

        def forward(self, x):
            if self.scale is None:
                self.scale = torch.linspace(0, 1, 4)
            return self.linear(x) * self.scale

    model = Scaled()
    capture(model, np.ones((2, 4), np.float32))
    model(torch.ones(2, 4)).sum().backward()
    assert model.linear.weight.grad is not None


def test_batches_of_a_data_loader():
    x = torch.arange(40.0).reshape(10, 4)
    model = torch.nn.Sequential(torch.nn.Identity())
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=4)
    np.testing.assert_array_equal(capture(model, loader)["0"], x.numpy())


def test_inputs_in_bfloat16():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3)).bfloat16()
    x = torch.arange(20).reshape(5, 4).bfloat16()
    expected = model(x).detach().float().numpy()
    np.testing.assert_array_equal(capture(model, x, batch_size=2)["0"], expected)


def test_rows_are_those_of_before_the_next_layer_wrote_over_them():
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(4, 3), torch.nn.ReLU(inplace=True))
    x = RNG.normal(size=(6, 4)).astype(np.float32)
    expected = model[1](torch.as_tensor(x)).detach().numpy()
    assert (expected < 0).any()
    np.testing.assert_array_equal(capture(model, x)["1"], expected)


def test_channels_of_images_and_of_sequences():
    timm = pytest.importorskip("timm", reason="timm is an extra")
    torch.manual_seed(0)
    kind = timm.models.swin_transformer.SwinTransformer
    swin = kind(img_size=32, patch_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2), window_size=4, num_classes=3)
    x = RNG.normal(size=(3, 3, 32, 32)).astype(np.float32)
    swin.eval()
    with torch.no_grad():
        features = swin.forward_features(torch.as_tensor(x))
    assert features.shape == (3, 4, 4, 32)  # channels last, as this model says
    np.testing.assert_allclose(capture(swin, x)["norm"], features.mean(dim=(1, 2)).numpy(), rtol=1e-4, atol=1e-5)
    first = capture(swin, x, layers="norm", channels="first")["norm"]
    np.testing.assert_allclose(first, features.mean(dim=(2, 3)).numpy(), rtol=1e-4, atol=1e-5)
    for dims, name in ((1, "Conv1d"), (3, "Conv3d")):
        model = torch.nn.Sequential(getattr(torch.nn, name)(2, 5, 3), torch.nn.ReLU())
        x = RNG.normal(size=(4, 2) + dims * (6,)).astype(np.float32)
        with torch.no_grad():
            values = model(torch.as_tensor(x)).mean(dim=tuple(range(2, 2 + dims))).numpy()
        np.testing.assert_allclose(capture(model, x, channels="first")["1"], values, rtol=1e-4, atol=1e-5)
        if dims == 3:  # more axes than sequences of tokens have
            np.testing.assert_allclose(capture(model, x)["1"], values, rtol=1e-4, atol=1e-5)


def test_another_model_does_not_go_on_with_a_capture(net, tmp_path):
    x = RNG.normal(size=(6, 3, 8, 8)).astype(np.float32)

    def stopping():
        yield x[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(net, stopping(), out=tmp_path / "net.npz")
    with torch.no_grad():
        net.norm.running_mean[0] += 1e-3
    with pytest.raises(FeatureFileError, match=r"other settings \(model\)"):
        capture(net, x, batch_size=2, out=tmp_path / "net.npz")
