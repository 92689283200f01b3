"""Recipes by name, from files, and with fields set; and what is said of those that do not fit."""

import dataclasses

import pytest
import torch

from afield.augment import AUGMENTATIONS
from afield.errors import InputError
from afield.heads import ArcFaceHead, LinearHead
from afield.recipes import RECIPES, Recipe, compose, read_recipe, resolve
from afield.runs.build import build_objective
from afield.training import PRESETS


def test_every_recipe_resolves_by_its_name_in_the_order_given():
    names = RECIPES.names[::-1]
    assert tuple(recipe.name for recipe in resolve(names)) == names


@pytest.mark.parametrize("name", RECIPES.names)
def test_every_recipe_builds_an_objective_that_can_be_minimized(name):
    (recipe,) = resolve([name])
    objective = build_objective(recipe, 8, 5)
    loss = objective(torch.randn(6, 8), torch.tensor([0, 1, 2, 3, 4, 0]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in objective.head.parameters())
    assert all(part in AUGMENTATIONS for part in (recipe.augment or "none").split("+"))


def test_the_recipes_of_the_papers_are_what_they_say():
    erm, flattening, arcface = resolve(["erm", "flattening", "arcface"])
    assert (erm.head, erm.losses) == ("linear", {"cross_entropy": 1.0})
    assert (flattening.head, flattening.losses) == ("linear", {"cross_entropy": 1.0, "complement_flattening": 0.5})
    assert (arcface.head, arcface.losses) == ("arcface", {"cross_entropy": 1.0})
    assert isinstance(build_objective(erm, 8, 5).head, LinearHead)
    head = build_objective(arcface, 8, 5).head
    assert isinstance(head, ArcFaceHead)
    assert head.margin_rad == 0.1


def test_an_unknown_recipe_is_an_error_that_names_the_nearest():
    with pytest.raises(InputError, match="unknown recipe 'flatening'; did you mean 'flattening'"):
        resolve(["flatening"])


def test_a_recipe_named_twice_or_none_at_all_is_an_error():
    with pytest.raises(InputError, match="'erm' is given twice"):
        resolve(["erm", "flattening", "erm"])
    with pytest.raises(InputError, match="no recipe to run; allowed: erm"):
        resolve([])


def test_recipes_joined_by_a_plus_have_what_each_of_them_changes():
    both, weights, same = resolve(["mixstyle+arcface", "swad+coral+flattening", "erm+coral"])
    assert both == Recipe("mixstyle+arcface", head="arcface", algorithm="mixstyle")
    flattening = {"cross_entropy": 1.0, "complement_flattening": 0.5}
    assert weights == Recipe("swad+coral+flattening", losses=flattening, algorithm="coral", averaging="swad")
    assert same == Recipe("erm+coral", algorithm="coral")


def test_adaptations_follow_each_other_in_the_order_of_the_text():
    both, other = resolve(["flattening+standardize+t3a", "t3a+standardize+erm"])
    assert both == dataclasses.replace(
        RECIPES["flattening"], name="flattening+standardize+t3a", adaptation=("standardize", "t3a")
    )
    assert other == Recipe("t3a+standardize+erm", adaptation=("t3a", "standardize"))


def test_an_adaptation_and_its_options_come_from_a_file_and_from_settings(tmp_path):
    text = 'adaptation = ["standardize", "t3a"]\nadaptation_options = {t3a = {supports = 20}}\n'
    (tmp_path / "mine.toml").write_text(text)
    (recipe,) = resolve([f"arcface+{tmp_path / 'mine.toml'}"], ["adaptation_options.standardize.pseudo_count=5"])
    assert (recipe.head, recipe.adaptation) == ("arcface", ("standardize", "t3a"))
    assert recipe.adaptation_options == {"t3a": {"supports": 20}, "standardize": {"pseudo_count": 5}}


def test_joined_recipes_have_the_losses_of_all_and_do_without_those_that_any_does_without():
    (recipe,) = resolve(["flattening+label_smoothing"])
    assert recipe.losses == {"complement_flattening": 0.5, "label_smoothing": 1.0}
    (again,) = resolve(["arcface_flattening+flattening"])
    assert again == Recipe("arcface_flattening+flattening", head="arcface", losses=RECIPES["flattening"].losses)


def test_a_joined_recipe_takes_files_and_settings(tmp_path):
    (tmp_path / "wide.toml").write_text('head = "arcface"\n[head_options]\nmargin_rad = 0.3\n[losses]\nfocal = 2\n')
    name = f"coral+{tmp_path / 'wide.toml'}"
    (recipe,) = resolve([name], ["algorithm_options.penalty=3"])
    assert (recipe.head_options, recipe.losses) == ({"margin_rad": 0.3}, {"focal": 2})
    assert (recipe.algorithm, recipe.algorithm_options) == ("coral", {"penalty": 3})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            ({"head": "arcface"}, {"head": "cosface"}),
            "a\\+b: the recipes conflict in head: 'a' has 'arcface' and 'b' has",
        ),
        (({"losses": {"focal": 1.0}}, {"losses": {"focal": 2.0}}), "conflict in losses.focal: 'a' has 1.0 and 'b' has"),
        (
            ({"losses": {"focal": 1.0}}, {"losses": {"cross_entropy": 2.0}}),
            "conflict in losses.cross_entropy: 'a' has .*left out.* and 'b' has 2.0",
        ),
        (({"augment": "crop"}, {"augment": "cutmix"}), "conflict in augment"),
        (
            ({"algorithm_options": {"penalty": 1}}, {"algorithm_options": {"penalty": 2}}),
            "conflict in algorithm_options.penalty",
        ),
    ],
)
def test_recipes_that_change_the_same_thing_in_different_ways_do_not_join(fields, message):
    with pytest.raises(InputError, match=message):
        compose("a+b", [Recipe(name, **own) for name, own in zip("ab", fields, strict=True)])


def test_a_recipe_has_settings_of_training_of_its_own():
    (recipe,) = resolve(["erm"], ["dropout=0.5", "weight_decay=0"])
    training = recipe.train_config(PRESETS["digits"])
    assert (training.dropout, training.weight_decay) == (0.5, 0)
    assert training == dataclasses.replace(PRESETS["digits"], dropout=0.5, weight_decay=0)
    assert RECIPES["erm"].train_config(training) == training


def test_a_field_is_set_for_every_recipe():
    recipes = resolve(["erm", "arcface"], ["augment=crop_flip"])
    assert [recipe.augment for recipe in recipes] == ["crop_flip", "crop_flip"]
    assert RECIPES["erm"].augment is None


def test_a_field_is_set_for_one_recipe():
    recipes = resolve(["erm", "arcface"], ["arcface.head_options.margin_rad=0.3", "erm.augment=null"])
    assert [recipe.head_options for recipe in recipes] == [{}, {"margin_rad": 0.3}]
    assert build_objective(recipes[1], 8, 5).head.margin_rad == 0.3


def test_a_nested_field_is_set_beside_what_is_there():
    flattening, smoothing = resolve(
        ["flattening", "label_smoothing"],
        ["flattening.losses.complement_flattening=1.0", "label_smoothing.loss_options.label_smoothing.smoothing=0.2"],
    )
    assert flattening.losses == {"cross_entropy": 1.0, "complement_flattening": 1.0}
    assert smoothing.loss_options == {"label_smoothing": {"smoothing": 0.2}}
    assert RECIPES["flattening"].losses["complement_flattening"] == 0.5


def test_later_settings_go_before_earlier_ones_and_values_are_json_or_text():
    (recipe,) = resolve(
        ["arcface"], ["head_options.scale=16", "head_options.scale=auto", 'losses={"label_smoothing": 2}']
    )
    assert recipe.head_options == {"scale": "auto"}
    assert recipe.losses == {"label_smoothing": 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augment", "expected FIELD=VALUE or RECIPE.FIELD=VALUE"),
        ("augmnt=crop", "unknown recipe field in --set 'augmnt=crop' 'augmnt'; did you mean 'augment'"),
        ("erm.lossess.cross_entropy=1", "'lossess'; did you mean .*'losses'"),
        ("name=other", "unknown recipe field .* 'name'"),
        ("head.scale=3", "head has no fields of its own"),
        ("losses={}", "recipe 'erm' has no losses"),
        ("losses.cross_entropy=-1", "the weight of cross_entropy must lie between 0 and 1000, got -1"),
        ("losses.cross_entropy=true", "the weight of cross_entropy must lie .* got True"),
        ("losses.cross_entropy=NaN", "the weight of cross_entropy must lie .* got nan"),
        ("losses.cross_entropy=much", "the weight of cross_entropy must lie .* got 'much'"),
    ],
)
def test_a_setting_that_does_not_fit_is_an_error_that_says_why(override, message):
    with pytest.raises(InputError, match=message):
        resolve(["erm"], [override])


@pytest.mark.parametrize(
    "override",
    [
        "losses=3",
        "losses.cross_entropy.weight=1",
        "head=3",
        "augment=3",
        "head_options=5",
        "loss_options=5",
        "loss_options.cross_entropy=5",
        "head=null",
    ],
)
def test_a_value_of_the_wrong_kind_is_an_input_error_before_anything_is_built(override):
    with pytest.raises(InputError, match=r"erm|--set"):
        resolve(["erm"], [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("head=arcfac", "unknown head 'arcfac'; did you mean 'arcface'"),
        ("losses.flattening=0.5", "unknown loss 'flattening'; did you mean 'complement_flattening'"),
        ("head_options.margin_rad=0.1", "option of head linear in recipe erm: 'margin_rad'; allowed: none"),
        ("loss_options.label_smoothing.smoothing=0.3", "loss_options: 'label_smoothing'; allowed: cross_entropy"),
        ("loss_options.cross_entropy.smoothing=0.3", "option of loss cross_entropy in recipe erm: 'smoothing'"),
    ],
)
def test_names_and_options_that_do_not_exist_show_when_the_objective_is_built(override, message):
    (recipe,) = resolve(["erm"], [override])
    with pytest.raises(InputError, match=message):
        build_objective(recipe, 8, 5)


FILES = {
    "mine.toml": 'head = "cosface"\naugment = "crop"\n[head_options]\nmargin_cos = 0.2\n[losses]\ncross_entropy = 1\n',
    "mine.yaml": "head: cosface\naugment: crop\nhead_options: {margin_cos: 0.2}\nlosses: {cross_entropy: 1}\n",
    "mine.json": '{"head": "cosface", "augment": "crop", "head_options": {"margin_cos": 0.2}, '
    '"losses": {"cross_entropy": 1}}',
}


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_read_from_a_file_and_takes_its_name(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    expected = Recipe("mine", "cosface", {"margin_cos": 0.2}, {"cross_entropy": 1}, augment="crop")
    assert resolve(["erm", str(tmp_path / name)]) == (RECIPES["erm"], expected)


def test_a_recipe_file_may_name_itself_and_leave_fields_out(tmp_path):
    (tmp_path / "r.yml").write_text("name: plain\n")
    assert read_recipe(tmp_path / "r.yml") == Recipe("plain")
    (recipe,) = resolve([str(tmp_path / "r.yml")], ["plain.losses.complement_flattening=2"])
    assert recipe.losses == {"cross_entropy": 1.0, "complement_flattening": 2}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.toml", 'hed = "linear"', "unknown recipe field in .*r.toml 'hed'; did you mean 'head'"),
        ("r.toml", "head = ", "r.toml cannot be read as a recipe"),
        ("r.yaml", "head: [", "r.yaml cannot be read as a recipe"),
        ("r.yaml", "- erm", "a recipe must be a table of fields, got list"),
        ("r.json", "", "a recipe must be a table of fields, got NoneType"),
        ("r.toml", "losses = {cross_entropy = 2000}", "recipe 'r': the weight of cross_entropy"),
        ("r.toml", "losses = 3", "recipe 'r'"),
        ("r.toml", "head = 3", "recipe 'r'"),
        ("r.toml", "name = 3", "name"),
        ("r.toml", 'name = "a\\u0000b"', r"recipe 'a\\x00b': a name must not contain the character U\+0000"),
        ("r.yaml", "losses: {1: 1.0}", r"recipe 'r': losses cannot be \{1: 1.0\}"),
        ("r.yaml", "head_options: {margin_rad: .nan}", "recipe 'r': head_options cannot be"),
        ("r.yaml", "head_options: {on: 2020-01-01}", "recipe 'r': head_options cannot be"),
        ("r.yaml", "losses: &a {x: *a}", r"r.yaml cannot be read as a recipe: aliases \(\*name\) are not allowed"),
        ("r.yaml", "[" * 100_000, "r.yaml cannot be read as a recipe"),
        ("r.json", '{"losses": ' * 5_000, "r.json cannot be read as a recipe"),
    ],
)
def test_a_recipe_file_that_does_not_fit_is_an_error_that_says_why(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        resolve([str(tmp_path / name)])


def test_a_recipe_of_another_normal_form_has_the_same_name(tmp_path):
    (tmp_path / "r.yaml").write_text("name: Ba\u0308r", encoding="utf-8")
    assert read_recipe(tmp_path / "r.yaml").name == "B\u00e4r"


def test_a_misspelt_option_of_a_head_names_the_nearest():
    (recipe,) = resolve(["arcface"], ["head_options.margin_rd=0.2"])
    with pytest.raises(InputError, match="'margin_rd'; did you mean 'margin_rad'"):
        build_objective(recipe, 8, 5)


def test_a_missing_recipe_file_is_an_error():
    with pytest.raises(InputError, match=r"no recipe file nowhere\.toml"):
        resolve(["nowhere.toml"])


def test_an_installed_package_offers_recipes_by_entry_point(tmp_path, monkeypatch):
    """Two entries of a package: a recipe, and a function that returns one."""
    (tmp_path / "lab_recipes.py").write_text(
        "from afield.recipes import Recipe\n"
        "STRONG = Recipe('strong', losses={'cross_entropy': 1.0, 'complement_flattening': 2.0})\n"
        "def round_head():\n    return Recipe('round_head', head='cosine')\n"
    )
    information = tmp_path / "lab-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[afield.recipes]\nstrong = lab_recipes:STRONG\nround_head = lab_recipes:round_head\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(RECIPES, "_entries", dict(RECIPES._entries))
    strong, round_head = resolve(["strong", "round_head"])
    assert strong.losses["complement_flattening"] == 2.0
    assert round_head == Recipe("round_head", head="cosine")
    with pytest.raises(InputError, match="unknown recipe 'stronk'; did you mean 'strong'"):
        resolve(["stronk"])
