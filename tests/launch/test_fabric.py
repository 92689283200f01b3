"""The fabric of a run: the precision that a device does not compute well is named."""

from __future__ import annotations

import warnings

import pytest

from afield.errors import InputError
from afield.launch import fabric
from afield.launch.fabric import make_fabric


@pytest.fixture(autouse=True)
def _new_fabrics():
    make_fabric.cache_clear()
    yield
    make_fabric.cache_clear()


@pytest.mark.parametrize(("computes", "precision", "said"), [(False, "bf16", 1), (True, "bf16", 0), (False, "32", 0)])
def test_bf16_on_a_cpu_without_its_instructions_is_a_warning_once(monkeypatch, computes, precision, said):
    monkeypatch.setattr(fabric, "cpu_computes_bf16", lambda: computes)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make_fabric("cpu", precision)
        make_fabric("cpu", precision)
    texts = [str(each.message) for each in found if "bf16" in str(each.message)]
    assert len(texts) == said
    assert all(text.endswith("ten times as long as with --precision 32") for text in texts)


def test_fp16_on_a_cpu_is_an_error_with_the_precision_to_use():
    with pytest.raises(InputError, match="--precision 16-mixed needs a GPU; use --precision bf16 on a CPU"):
        make_fabric("cpu", "16-mixed")
