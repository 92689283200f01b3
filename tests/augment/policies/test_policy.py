"""A policy in a file: what it says, that it draws what it says, and that it comes back to the bit."""

import json
import math
import shutil

import pytest
import torch
from torchvision.transforms import v2

from afield.augment import Policy, build_chain, chain_key, operate
from afield.augment.policies.autoaugment import published
from afield.augment.policies.operations import NAMES, kind
from afield.augment.policies.policy import OPERATIONS, Step
from afield.commands import Train
from afield.errors import InputError
from afield.recipes import Recipe
from afield.runs.callback import Callback
from afield.runs.run import Run

LINES = ["rotate 0.7 12, equalize 0.35", "posterize 1.0 30, shear_x 0.25 3", "invert 0.1"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.randint(256, (64, 3, 20, 31), generator=generator(), dtype=torch.uint8)


@pytest.fixture
def saved(tmp_path):
    Policy.parse(LINES, origin={"seconds": 12.5}).write(tmp_path / "policy.json")
    return tmp_path / "policy.json"


def test_a_policy_comes_back_from_its_file_and_gives_the_same_images_to_the_bit(saved, images):
    policy, again = Policy.parse(LINES), Policy.read(saved)
    assert again == policy
    assert again.origin == {"seconds": 12.5}
    assert again.digest == policy.digest
    for kind_of_images in (images, images.float() / 255):
        first, second = (p(kind_of_images, generator=generator(3)) for p in (policy, again))
        assert torch.equal(first, second)
    assert not torch.equal(first, again(kind_of_images, generator=generator(4)))


def test_the_file_is_for_people_a_line_for_each_sub_policy(saved):
    content = json.loads(saved.read_text())
    assert content == {"version": 1, "bins": 31, "sub_policies": LINES, "origin": {"seconds": 12.5}}
    assert [line.strip().strip('",') for line in saved.read_text().splitlines()[4:7]] == LINES


def test_probabilities_survive_the_file_exactly(tmp_path):
    policy = Policy(((Step("rotate", 1 / 3, 12), Step("invert", math.nextafter(1, 0))),))
    policy.write(tmp_path / "policy.json")
    assert Policy.read(tmp_path / "policy.json").sub_policies == policy.sub_policies


def test_probability_one_always_happens_and_zero_never(images):
    draws = Policy.parse(["invert 1.0, solarize 0.0 30"]).sample(images, generator())
    assert draws.kind.tolist() == [[kind("invert"), 0]] * 64
    assert torch.equal(Policy.parse(["invert 1.0, solarize 0.0 30"]).apply(images, draws), 255 - images)
    assert torch.equal(Policy.parse(["invert 0.0"])(images), images)


def test_sub_policies_come_equally_often_and_operations_with_their_probabilities():
    draws = Policy.parse(LINES).sample(torch.zeros(12_000, 3, 8, 8), generator())
    assert draws.kind.shape == (12_000, 2)
    for name, place, share in (("rotate", 0, 0.7), ("equalize", 1, 0.35), ("shear_x", 1, 0.25), ("invert", 0, 0.1)):
        assert (draws.kind[:, place] == kind(name)).double().mean().item() == pytest.approx(share / 3, abs=0.012), name
    found = draws.magnitude[draws.kind == kind("rotate")]
    assert found.abs().unique().tolist() == [12.0]  # bin 12 of 0 to 30, 30 degrees at most
    assert (found < 0).double().mean().item() == pytest.approx(0.5, abs=0.04)
    assert draws.magnitude[draws.kind == kind("posterize")].unique().tolist() == [4.0]


def test_bin_zero_does_nothing_but_where_an_operation_has_no_magnitude(images):
    images = images.clamp(max=254)  # solarize inverts white at its lowest
    for name in OPERATIONS:
        step = f"{name} 1.0" + (" 0" if name not in ("identity", "autocontrast", "equalize", "invert") else "")
        same = torch.equal(Policy.parse([step])(images), images)
        assert same == (name not in ("autocontrast", "equalize", "invert")), name


def test_a_policy_applies_what_it_draws(images):
    policy = Policy.parse(LINES)
    draws = policy.sample(images, generator())
    for image, row, found in zip(images, range(64), policy.apply(images, draws), strict=True):
        for place, strength in zip(draws.kind[row], draws.magnitude[row], strict=True):
            image = operate(NAMES[place], image[None], strength)[0]
        assert torch.equal(image, found)


def test_the_published_policies_are_policies_whose_text_comes_back():
    policy = published("cifar10")
    assert len(policy.sub_policies) == len(v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)._policies)
    assert policy.lines[:2] == ["invert 0.1, contrast 0.2 6", "rotate 0.7 2, translate_x 0.3 9"]
    assert Policy.parse(policy.lines, bins=10) == policy


def test_the_digest_names_what_a_policy_does_and_nothing_else():
    policy = Policy.parse(LINES)
    assert policy.with_origin(seconds=3).digest == policy.digest == Policy.parse(list(LINES)).digest
    others = [Policy.parse(LINES, bins=32), Policy.parse(LINES[:2]), Policy.parse(["rotate 0.7 13", *LINES[1:]])]
    assert len({policy.digest, *(other.digest for other in others)}) == 4


def test_a_chain_takes_a_file_and_names_it_by_its_content(saved, images):
    images = images.float() / 255
    chain = build_chain(f"crop_flip+{saved}")
    params = chain.sample(images, generator(1))
    expected = Policy.parse(LINES).apply(build_chain("crop_flip").apply(images, params[0]), params[1])
    assert torch.equal(chain.apply(images, params), expected)
    assert build_chain(str(saved)) == Policy.parse(LINES)
    moved = shutil.copy(saved, saved.with_name("elsewhere.json"))
    assert chain_key(f"mixup+mixup+{saved}") == f"mixup+mixup+sha256:{Policy.parse(LINES).digest}"
    assert chain_key(str(moved)) == chain_key(str(saved))
    assert chain_key("crop_flip+trivialaugment") == "crop_flip+trivialaugment"


def run_with(protocol_augment=None, own_augment=None):
    setup = Train(augment=protocol_augment and str(protocol_augment)).load_setup(Callback())
    return Run(setup, Recipe("erm", augment=own_augment and str(own_augment)), (), 0)


def test_a_run_is_the_same_wherever_its_policy_lies_and_another_with_another_policy(saved, tmp_path):
    moved = shutil.copy(saved, tmp_path / "other.json")
    key = f"sha256:{Policy.parse(LINES).digest}"
    assert run_with(saved).hash == run_with(moved).hash != run_with().hash
    assert run_with(own_augment=saved).hash == run_with(own_augment=moved).hash != run_with().hash
    assert run_with(saved).config["training"]["augment"] == key
    assert run_with(own_augment=f"crop+{saved}").config["recipe"]["augment"] == f"crop+{key}"
    before = run_with(saved).hash
    Policy.parse(LINES[:1]).write(saved)
    assert run_with(saved).hash != before


def test_a_model_trained_with_a_policy_is_kept_and_names_it_by_content(afield, saved, tmp_path):
    from afield import load

    code, _, err = afield("train", "--epochs", 1, "--set", f"augment={saved}", "--out", tmp_path / "model")
    assert code == 0, err
    saved.unlink()
    assert load(tmp_path / "model").config["recipe"]["augment"] == f"sha256:{Policy.parse(LINES).digest}"
    assert str(saved) not in (tmp_path / "model" / "model.json").read_text()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"version": 1, "bins": 31, "sub_policies": ["rotat 0.7 3"]}', "unknown operation 'rotat'; did you mean 'rot"),
        ('{"version": 1, "bins": 31, "sub_policies": ["rotate 1.7 3"]}', "'rotate 1.7 3': the probability must lie"),
        ('{"version": 1, "bins": 31, "sub_policies": ["rotate nan 3"]}', "the probability must lie between 0 and 1"),
        ('{"version": 1, "bins": 31, "sub_policies": ["rotate 0.7 31"]}', "the magnitude must lie between 0 and 30"),
        ('{"version": 1, "bins": 31, "sub_policies": ["rotate 0.7 -1"]}', "the magnitude must lie between 0 and 30"),
        ('{"version": 1, "bins": 31, "sub_policies": ["rotate 0.7"]}', "must have the form 'rotate PROBABILITY MAGN"),
        ('{"version": 1, "bins": 31, "sub_policies": ["equalize 0.7 4"]}', "must have the form 'equalize PROBABILITY'"),
        ('{"version": 1, "bins": 31, "sub_policies": ["rotate 0.7 3,"]}', "unknown operation ''"),
        ('{"version": 1, "bins": 31, "sub_policies": [["rotate", 0.7, 3]]}', "unknown operation"),
        ('{"version": 1, "bins": 31, "sub_policies": []}', "a policy needs at least one sub-policy"),
        ('{"version": 1, "bins": "31", "sub_policies": ["rotate 0.7 3"]}', "bins must be a whole number"),
        (
            '{"version": 2, "bins": 31, "sub_policies": ["rotate 0.7 3"]}',
            "is a policy of version 2; this version of afield reads 1",
        ),
        ('{"recipes": 3}', "is not a policy: it has no list of sub_policies"),
        ("[1, 2", "is not valid JSON"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_line(afield, tmp_path, content, expected):
    (tmp_path / "policy.json").write_text(content)
    with pytest.raises(InputError) as caught:
        Policy.read(tmp_path / "policy.json")
    assert expected in str(caught.value)
    assert str(tmp_path / "policy.json") in str(caught.value)
    code, _, err = afield("compare", "--augment", f"crop+{tmp_path / 'policy.json'}", "--out", tmp_path / "out")
    assert code == 2
    assert expected in err
    assert not (tmp_path / "out" / "runs").exists()


def test_a_policy_file_that_is_not_there_is_refused(afield, tmp_path):
    code, _, err = afield("compare", "--augment", "crop+nowhere.json", "--out", tmp_path / "out")
    assert (code, err.splitlines()[-1]) == (2, "afield: no file nowhere.json")
