"""Registries: order, duplicates, and help with names that do not exist."""

import pytest

from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.augment import AUGMENTATIONS
from afield.errors import InputError
from afield.evaluation import METRICS, SELECTIONS
from afield.heads import HEADS
from afield.losses import LOSSES
from afield.registry import Registry

KINDS = {
    **{"algorithm": ALGORITHMS, "weight averaging": AVERAGINGS, "head": HEADS, "loss": LOSSES, "metric": METRICS},
    **{"selection rule": SELECTIONS, "augmentation": AUGMENTATIONS},
}


@pytest.fixture
def fruit():
    registry = Registry("fruit")
    registry.add("pear", 1, summary="A pear.", reference="Tree.")
    registry.add("apple", 2, summary="An apple.", reference="Other tree.")
    return registry


def test_entries_come_by_name_and_in_the_order_of_registration(fruit):
    assert (fruit["pear"], fruit["apple"]) == (1, 2)
    assert fruit.names == ("pear", "apple")
    assert [(e.name, e.value, e.summary, e.reference) for e in fruit] == [
        ("pear", 1, "A pear.", "Tree."),
        ("apple", 2, "An apple.", "Other tree."),
    ]
    assert len(fruit) == 2
    assert "pear" in fruit
    assert "plum" not in fruit


def test_adding_returns_the_value(fruit):
    value = object()
    assert fruit.add("plum", value, summary="A plum.", reference="-") is value


def test_a_name_that_is_taken_raises_and_keeps_the_first(fruit):
    with pytest.raises(ValueError, match="fruit 'pear' is registered twice"):
        fruit.add("pear", 3, summary="Another.", reference="-")
    assert fruit["pear"] == 1


def test_an_unknown_name_names_the_nearest(fruit):
    with pytest.raises(InputError, match=r"^unknown fruit 'appel'; did you mean 'apple'\?$"):
        fruit["appel"]


def test_a_name_near_to_nothing_lists_what_is_allowed(fruit):
    with pytest.raises(InputError, match=r"^unknown fruit 'xyzzy'; allowed: apple, pear$"):
        fruit.entry("xyzzy")


def test_a_long_list_of_allowed_names_is_cut():
    registry = Registry("number")
    for i in range(20):
        registry.add(f"{i:02d}", i, summary="-", reference="-")
    with pytest.raises(InputError, match=r"allowed: 00, 01, .*, 11 and 8 more$"):
        registry["xyzzy"]


def test_an_entry_cannot_be_changed(fruit):
    with pytest.raises(AttributeError):
        fruit.entry("pear").value = 9


def test_a_decorator_takes_the_summary_from_the_first_line_of_the_docstring(fruit):
    @fruit.register("plum", reference="Plum tree.")
    def plum():
        """A plum.

        More about plums.
        """

    entry = fruit.entry("plum")
    assert (entry.value, entry.summary, entry.reference) == (plum, "A plum.", "Plum tree.")


@pytest.mark.parametrize(("kind", "registry"), KINDS.items())
def test_an_unknown_name_is_of_its_kind(kind, registry):
    with pytest.raises(InputError, match=rf"^unknown {kind} 'xyzzy'"):
        registry["xyzzy"]


def test_what_has_no_paper():
    without = {kind: {entry.name for entry in registry if entry.reference == "-"} for kind, registry in KINDS.items()}
    assert without == {
        **{"algorithm": set(), "weight averaging": set(), "head": set(), "loss": set()},
        "metric": {"accuracy", "worst_domain", "worst_class"},
        "selection rule": {"last"},
        "augmentation": {"none"},
    }
