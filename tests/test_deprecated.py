"""Old public names keep working for one version, and each says what replaces it."""

from __future__ import annotations

import importlib
import warnings

import pytest

import afield
from afield.catalog import REGISTRIES, chosen
from afield.deprecated import RENAMED, current
from afield.heads import HEADS
from afield.recipes import RECIPES, resolve

NAMES = [(kind, old, new) for kind, names in RENAMED.items() for old, new in names.items()]


@pytest.mark.parametrize(("kind", "old", "new"), NAMES)
def test_an_old_name_stands_for_the_new_one_and_warns(kind, old, new):
    with pytest.warns(DeprecationWarning, match=f"'{old}' is deprecated; use '{new}'"):  # noqa: PT031
        if kind.startswith("afield"):
            where, _, attribute = new.rpartition(".")
            new_place = importlib.import_module(where or kind)
            assert getattr(importlib.import_module(kind), old) is getattr(new_place, attribute)
        elif kind == "kind":
            assert chosen(old) == {new: REGISTRIES[new]}
        elif kind == "recipe":
            assert resolve([old]) == (RECIPES[new],)
        elif kind == "head":
            assert HEADS[old] is HEADS[new]
        elif kind == "setting":
            (recipe,) = resolve(["erm"], [f"augment_options.{old}=0.8"])
            assert recipe.augment_options == {new: 0.8}
        else:
            with pytest.raises(ValueError, match=f"unknown {new} 'nothing'"):
                afield.train(**{old: "nothing"})


def test_the_old_option_warns_on_the_command_line(afield):
    with pytest.warns(DeprecationWarning, match="option 'protocol' is deprecated; use 'preset'"):
        code, _, err = afield("train", "--protocol=frozn")
    assert code == 2
    assert "unknown preset 'frozn'; did you mean 'frozen'" in err


def test_the_old_module_of_learned_augmentations_is_still_there():
    from afield.augment import learned

    with pytest.warns(DeprecationWarning, match="use afield.augment.learned"):
        old = importlib.import_module("afield.augmentors")
    assert old.AUGMENTORS is learned.AUGMENTORS


def test_a_name_of_today_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current("option", "preset") == "preset"
