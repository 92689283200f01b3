"""What every registered thing has to keep, whichever it is: tried on all entries of all registries."""

import copy
import dataclasses
import inspect
import json

import pytest
import torch

from afield.adaptation import ADAPTATIONS, SourceStatistics, with_backbone
from afield.augment import AUGMENTATIONS, MixingAugmentation
from afield.catalog import REGISTRIES
from afield.classifier import Classifier
from afield.heads import HEADS
from afield.losses import LOSSES
from afield.models import BACKBONES
from afield.objective import Objective
from afield.recipes import RECIPES, Recipe
from afield.training import PRESETS, TrainConfig
from afield.types import Head

ENTRIES = [pytest.param(entry, id=f"{kind}-{entry.name}") for kind in REGISTRIES for entry in REGISTRIES[kind]]
every_loss = pytest.mark.parametrize("name", LOSSES.names)
every_head = pytest.mark.parametrize("name", HEADS.names)
every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS.names)
every_adaptation = pytest.mark.parametrize("name", ADAPTATIONS.names)
every_backbone = pytest.mark.parametrize("name", BACKBONES.names)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def logits():
    return torch.randn(7, 5, generator=generator(), requires_grad=True)


@pytest.fixture
def features():
    return torch.randn(7, 8, generator=generator(), requires_grad=True)


@pytest.fixture
def targets():
    return torch.tensor([0, 1, 2, 3, 4, 0, 1])


@pytest.fixture
def images():
    return torch.rand(4, 3, 12, 12, generator=generator())


PAPERS = ("algorithms", "averagings", "adaptations", "losses", "heads", "recipes")
KINDS = {*PAPERS, "augmentations", "backbones", "presets", "datasets", "selections"}


def test_each_kind_has_entries_and_names_them_plainly():
    assert set(REGISTRIES) >= KINDS
    for registry in REGISTRIES.values():
        assert len(registry) >= 1
        assert all(name.replace("_", "").isalnum() and name == name.lower() for name in registry.names)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_has_a_summary_of_one_line_and_a_reference(entry):
    assert 10 <= len(entry.summary) <= 100
    assert "\n" not in entry.summary
    assert entry.summary.endswith(".")
    assert entry.reference == "-" or len(entry.reference) >= 10


@pytest.mark.parametrize("kind", PAPERS)
def test_what_comes_from_a_paper_names_it(kind):
    assert [entry.name for entry in REGISTRIES[kind] if entry.reference == "-"] == []


@every_loss
def test_a_loss_gives_one_finite_value_an_example_and_finite_gradients(name, logits, targets):
    values = LOSSES[name](logits, targets)
    assert values.shape == (7,)
    assert values.dtype == logits.dtype
    values.sum().backward()
    assert values.isfinite().all()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0


@every_loss
def test_a_loss_of_an_example_does_not_depend_on_the_others_or_on_chance(name, logits, targets):
    together = LOSSES[name](logits, targets)
    alone = torch.cat([LOSSES[name](logits[i : i + 1], targets[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert torch.equal(together, LOSSES[name](logits, targets))


@every_loss
def test_a_loss_does_not_depend_on_the_order_of_the_classes(name, logits, targets):
    order = torch.tensor([3, 0, 4, 1, 2])
    renamed = order.argsort()[targets]
    torch.testing.assert_close(LOSSES[name](logits[:, order], renamed), LOSSES[name](logits, targets))


@every_loss
def test_a_loss_stays_finite_at_large_logits(name, targets):
    large = (100 * torch.randn(7, 5, generator=generator())).requires_grad_()
    values = LOSSES[name](large, targets)
    values.sum().backward()
    assert values.isfinite().all()
    assert large.grad.isfinite().all()


@every_head
def test_a_head_needs_only_its_sizes_and_gives_logits_with_and_without_targets(name, features, targets):
    head = HEADS[name](in_features=8, num_classes=5)
    assert isinstance(head, Head)
    assert (head.in_features, head.num_classes) == (8, 5)
    assert head(features).shape == head(features, targets).shape == (7, 5)


@every_head
def test_a_head_has_finite_gradients(name, features, targets):
    head = HEADS[name](in_features=8, num_classes=5)
    torch.nn.functional.cross_entropy(head(features, targets), targets).backward()
    for gradient in (features.grad, *(p.grad for p in head.parameters())):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@every_head
def test_a_head_comes_back_from_its_state(name, features, targets):
    torch.manual_seed(0)
    head, other = (HEADS[name](in_features=8, num_classes=5) for _ in range(2))
    assert not torch.equal(other(features, targets), head(features, targets))
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(features, targets), head(features, targets))


@every_head
def test_a_head_is_initialized_by_the_seed_alone(name):
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(HEADS[name](in_features=8, num_classes=5).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@every_augmentation
def test_an_augmentation_is_decided_by_the_generator_and_keeps_shape_and_kind(name, images):
    augmentation = AUGMENTATIONS[name]()
    before = images.clone()
    first, second = (augmentation.apply(images, augmentation.sample(images, generator(5))) for _ in range(2))
    assert torch.equal(first, second)
    assert (first.shape, first.dtype) == (images.shape, images.dtype)
    assert torch.equal(images, before)


@every_augmentation
def test_an_augmentation_leaves_the_global_random_numbers_alone(name, images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    augmentation = AUGMENTATIONS[name]()
    augmentation.apply(images, augmentation.sample(images, generator()))
    assert torch.equal(torch.get_rng_state(), before)


@every_augmentation
def test_an_augmentation_does_to_an_image_what_it_does_to_it_in_a_batch(name, images):
    augmentation = AUGMENTATIONS[name]()
    if isinstance(augmentation, MixingAugmentation):
        pytest.skip("mixes the images of a batch")
    params = augmentation.sample(images, generator())
    repeated = augmentation.apply(images[:1].expand_as(images), params)
    torch.testing.assert_close(repeated[:1], augmentation.apply(images, params)[:1], atol=1e-6, rtol=0)


@pytest.fixture
def place():
    """A classifier of images with batch normalization, images of a new place, and statistics of the source."""
    torch.manual_seed(0)
    backbone = BACKBONES["resnet8"]()
    objective = Objective(HEADS["linear"](backbone.num_features, 3), {"cross_entropy": 1.0})
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.5).eval()
    source, target = torch.rand(2, 24, 3, 12, 12, generator=generator())
    with torch.no_grad():
        features = classifier.backbone_features(source)
    domains, labels = torch.arange(24) % 2, torch.arange(24) % 3
    return classifier, 0.5 * target, SourceStatistics.of(features, labels, domains, ("a", "b"), 3)


@every_adaptation
def test_an_adaptation_documents_its_options_which_are_keywords_with_defaults(name):
    kind = ADAPTATIONS[name]
    assert "References:" in kind.__doc__
    for option in inspect.signature(kind).parameters.values():
        assert option.kind is option.KEYWORD_ONLY
        assert option.default is not option.empty
        assert f"        {option.name}: " in kind.__doc__


@every_adaptation
def test_an_adaptation_makes_a_new_classifier_by_its_arguments_alone(name, place):
    classifier, images, source = place
    before, random = copy.deepcopy(classifier.state_dict()), torch.get_rng_state()
    first = ADAPTATIONS[name]().adapt(classifier, images, source)
    torch.manual_seed(5)
    second = ADAPTATIONS[name]().adapt(classifier, images, source)
    torch.set_rng_state(random)
    assert first is not classifier
    assert first.state_dict().keys() >= before.keys()
    assert all(torch.equal(classifier.state_dict()[key], value) for key, value in before.items())
    assert all(torch.equal(second.state_dict()[key], value) for key, value in first.state_dict().items())


@every_adaptation
def test_an_adaptation_changes_finite_logits_and_leaves_the_global_random_numbers_alone(name, place):
    classifier, images, source = place
    before = torch.get_rng_state()
    adapted = ADAPTATIONS[name]().adapt(classifier, images, source).eval()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        logits = adapted.logits(images)
        assert logits.isfinite().all()
        assert not torch.equal(logits, classifier.logits(images))


@every_adaptation
def test_an_adaptation_takes_ready_features_where_it_says_so(name, place):
    classifier, images, source = place
    kind = ADAPTATIONS[name]
    if kind.needs == "images":
        pytest.skip("changes the backbone")
    on_images = kind().adapt(classifier, images, source)
    with torch.no_grad():
        features = classifier.backbone_features(images)
    on_features = kind().adapt(with_backbone(classifier, torch.nn.Identity()), features, source)
    for key in on_features.state_dict():
        torch.testing.assert_close(on_features.state_dict()[key], on_images.state_dict()[key], atol=1e-5, rtol=1e-4)


@every_backbone
def test_a_backbone_gives_its_number_of_features_and_finite_gradients(name, images):
    torch.manual_seed(0)
    model = BACKBONES[name]()
    found = model(images)
    assert found.shape == (4, model.num_features)
    found.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@every_backbone
def test_a_backbone_comes_back_from_its_state(name, images):
    torch.manual_seed(0)
    model, other = BACKBONES[name]().eval(), BACKBONES[name]().eval()
    assert not torch.equal(other(images), model(images))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images), model(images))


@pytest.mark.parametrize(
    ("kind", "value"),
    [*((Recipe, entry.value) for entry in RECIPES), *((TrainConfig, entry.value) for entry in PRESETS)],
    ids=[*RECIPES.names, *PRESETS.names],
)
def test_recipes_and_presets_come_back_from_json(kind, value):
    assert kind(**json.loads(json.dumps(dataclasses.asdict(value)))) == value


@pytest.mark.parametrize("entry", list(RECIPES), ids=lambda entry: entry.name)
def test_a_recipe_is_called_what_it_is_registered_as_and_names_what_exists(entry):
    assert entry.value.name == entry.name
    assert entry.value.head in HEADS
    assert all(loss in LOSSES for loss in (*entry.value.losses, *entry.value.loss_options))


@pytest.mark.parametrize("name", PRESETS.names)
def test_a_preset_names_an_augmentation_that_exists(name):
    assert all(part in AUGMENTATIONS for part in PRESETS[name].augment.split("+"))


def test_no_two_recipes_are_the_same_but_for_the_name():
    plain = {json.dumps({**dataclasses.asdict(entry.value), "name": ""}, sort_keys=True) for entry in RECIPES}
    assert len(plain) == len(RECIPES)
