"""What every registered thing has to keep, whichever it is: tried on all entries of all registries."""

import copy
import dataclasses
import inspect
import json

import pytest
import torch

from afield.adaptation import ADAPTATIONS, SourceStatistics, with_backbone
from afield.augment import AUGMENTATIONS
from afield.catalog import REGISTRIES
from afield.classifier import Classifier
from afield.data import DATASETS
from afield.heads import HEADS
from afield.labeling import STRATEGIES, Pool
from afield.losses import LOSSES
from afield.models import BACKBONES
from afield.objective import Objective
from afield.recipes import RECIPES, Recipe
from afield.testing import (
    AUGMENTATION_CHECKS,
    BACKBONE_CHECKS,
    DATA_SET_CHECKS,
    HEAD_CHECKS,
    LOSS_CHECKS,
    check_entry,
    check_named_in_paper,
)
from afield.testing.inputs import generator
from afield.training import PRESETS, TrainConfig

ENTRIES = [pytest.param(entry, id=f"{kind}-{entry.name}") for kind in REGISTRIES for entry in REGISTRIES[kind]]
every_adaptation = pytest.mark.parametrize("name", ADAPTATIONS.names)
every_strategy = pytest.mark.parametrize("name", STRATEGIES.names)


def common(checks, registry):
    """Each check with each part."""
    return [
        pytest.param(check, entry.value, id=f"{entry.name}-{check.__name__}") for entry in registry for check in checks
    ]


PAPERS = ("algorithms", "averagings", "adaptations", "losses", "heads", "recipes")
KINDS = {*PAPERS, "augmentations", "backbones", "presets", "datasets", "selections", "strategies"}


def test_each_kind_has_entries():
    assert set(REGISTRIES) >= KINDS
    assert all(len(registry) >= 1 for registry in REGISTRIES.values())


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_has_a_plain_name_a_summary_of_one_line_and_a_reference(entry):
    check_entry(entry)


@pytest.mark.parametrize("kind", PAPERS)
def test_what_comes_from_a_paper_names_it(kind):
    for entry in REGISTRIES[kind]:
        check_named_in_paper(entry)


@pytest.mark.parametrize(("check", "part"), common(LOSS_CHECKS, LOSSES))
def test_a_loss_passes_the_common_check(check, part):
    check(part)


@pytest.mark.parametrize(("check", "part"), common(HEAD_CHECKS, HEADS))
def test_a_head_passes_the_common_check(check, part):
    check(part)


@pytest.mark.parametrize(("check", "part"), common(AUGMENTATION_CHECKS, AUGMENTATIONS))
def test_an_augmentation_passes_the_common_check(check, part):
    check(part)


@pytest.mark.parametrize(("check", "part"), common(BACKBONE_CHECKS, BACKBONES))
def test_a_backbone_passes_the_common_check(check, part):
    check(part)


@pytest.mark.parametrize("check", DATA_SET_CHECKS, ids=lambda check: check.__name__)
def test_the_embedded_data_set_passes_the_common_check(check):
    check(DATASETS["digits"])


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


@pytest.fixture
def pool():
    numbers = torch.randn(5, 30, 6, generator=generator())
    labeled, excluded = torch.zeros(2, 30, dtype=torch.bool)
    labeled[::5] = excluded[1::5] = True
    labels = torch.arange(30).remainder(4).where(labeled, -1)
    return Pool(
        features=numbers[0],
        logits=numbers[1, :, :4],
        labeled=labeled,
        excluded=excluded,
        labels=labels,
        sequences=torch.arange(30) // 10,
        draws=numbers[2:, :, :4],
        predicted_losses=numbers[2, :, 5],
    )


@every_strategy
def test_a_strategy_chooses_images_that_can_be_labeled_each_once(name, pool):
    for count in (1, 7, 18):
        found = STRATEGIES[name](pool, count, generator())
        assert found.dtype == torch.int64
        assert len(found) == len(found.unique()) == count
        assert pool.available[found].all()


@every_strategy
def test_a_strategy_is_decided_by_the_generator_and_leaves_the_pool_alone(name, pool):
    before, state = pool.features.clone(), torch.get_rng_state()
    first, second = (STRATEGIES[name](pool, 7, generator(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(pool.features, before)
    assert int(pool.available.sum()) == 18
    assert torch.equal(torch.get_rng_state(), state)


@every_strategy
def test_a_strategy_needs_no_labels_and_chooses_among_copies_of_one_image(name):
    same = Pool(torch.ones(9, 2), torch.zeros(9, 3), draws=torch.zeros(2, 9, 3), predicted_losses=torch.zeros(9))
    assert len(STRATEGIES[name](same, 8, generator()).unique()) == 8


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
