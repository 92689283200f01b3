"""Mistakes in one's own training loop: wrong keywords, widths, layouts and labels, each with what is allowed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield import Objective
from afield.heads import ArcFaceHead, CosFaceHead, CosineHead, LinearHead, SphereFaceHead, SubCenterArcFaceHead
from afield.losses import ComplementFlattening, Focal, LabelSmoothing

FEATURES, TARGETS = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("kind", "keyword", "message"),
    [
        (ArcFaceHead, "margin", "ArcFaceHead has no argument 'margin'; did you mean 'margin_rad'?"),
        (ArcFaceHead, "m", "ArcFaceHead has no argument 'm'; did you mean 'margin_rad'?"),
        (CosFaceHead, "margin", "CosFaceHead has no argument 'margin'; did you mean 'margin_cos'?"),
        (SphereFaceHead, "m", "SphereFaceHead has no argument 'm'; did you mean 'margin_multiplier'?"),
        (ArcFaceHead, "s", "ArcFaceHead has no argument 's'; did you mean 'scale'?"),
        (CosineHead, "embedding_size", "CosineHead has no argument 'embedding_size'; did you mean 'in_features'?"),
        (LinearHead, "embedding_size", "LinearHead has no argument 'embedding_size'; did you mean 'in_features'?"),
        (LinearHead, "out_features", "LinearHead has no argument 'out_features'; did you mean 'num_classes'?"),
        (SubCenterArcFaceHead, "sub_centers", "SubCenterArcFaceHead has no argument 'sub_centers'; did you mean 'cent"),
        (LinearHead, "zzz", "LinearHead has no argument 'zzz'; allowed: in_features, num_classes"),
        (Focal, "gama", "Focal has no argument 'gama'; did you mean 'gamma'?"),
        (LabelSmoothing, "label_smoothing", "LabelSmoothing has no argument 'label_smoothing'; did you mean 'smoothi"),
        (ComplementFlattening, "lam", "ComplementFlattening has no argument 'lam'; did you mean 'strength'?"),
    ],
)
def test_a_wrong_keyword_of_a_head_or_loss_suggests_the_right_one(kind, keyword, message):
    with pytest.raises(TypeError) as raised:
        kind(**{keyword: 5})
    assert str(raised.value).startswith(message)


def test_a_wrong_option_of_a_loss_in_an_objective_is_named_at_once():
    with pytest.raises(TypeError, match="loss label_smoothing has no argument 'smoothin'; did you mean 'smoothing'"):
        Objective(LinearHead(8, 3), {"label_smoothing": 1.0}, {"label_smoothing": {"smoothin": 0.2}})


def test_a_head_of_ones_own_may_take_any_keyword():
    class Own(CosineHead):
        def __init__(self, *sizes: int, **options: float) -> None:
            super().__init__(*sizes)
            self.options = options

    assert Own(8, 3, margin=1.0).options == {"margin": 1.0}


@pytest.mark.parametrize("head", [LinearHead(8, 3), ArcFaceHead(8, 3)])
@pytest.mark.parametrize(
    ("features", "targets", "message"),
    [
        (torch.zeros(4, 7), TARGETS, r"a head for 8 features needs floating-point features \[B, 8\], got \[4, 7\]"),
        (torch.zeros(4, 8, 2, 2), TARGETS, r"got \[4, 8, 2, 2\] of float32; average a feature map over its positions"),
        (FEATURES, torch.tensor([0, 1, 2, 3]), "class indices must lie between 0 and 2 for 3 classes, got 3"),
        (FEATURES, torch.tensor([0, 1, 2, -1]), "class indices must lie between 0 and 2 for 3 classes, got -1"),
        (FEATURES, TARGETS[:, None], r"needs .*class indices \[B\].*, got .*(4, 1|\[4, 1\])"),
        (FEATURES, TARGETS[:2], r"needs? .*class indices \[.\].*, got .*2"),
    ],
)
def test_wrong_widths_layouts_and_labels_are_named(head, features, targets, message):
    with pytest.raises(ValueError, match=message):
        Objective(head, {"cross_entropy": 1.0})(features, targets)


@pytest.mark.parametrize(
    ("head", "losses", "message"),
    [
        (LinearHead(8, 3), ["cross_entropy"], "losses must be weights by name, such as {'cross_entropy': 1.0}, got"),
        (nn.Linear(8, 3), {"cross_entropy": 1.0}, "an objective needs a head with in_features, num_classes and forw"),
    ],
)
def test_an_objective_says_what_it_needs(head, losses, message):
    with pytest.raises(TypeError, match=message):
        Objective(head, losses)


def test_a_validation_loss_of_an_objective_contains_the_margin_and_that_of_its_logits_does_not():
    """By hand: the logit of the target is s cos(theta + m) in one and s cos(theta) in the other."""
    objective = Objective(ArcFaceHead(8, 3, scale=10.0, margin_rad=0.4), {"cross_entropy": 1.0}).eval()
    cosines = F.normalize(FEATURES) @ F.normalize(objective.head.weight).T
    angle = cosines.gather(1, TARGETS[:, None]).acos()
    moved = cosines.scatter(1, TARGETS[:, None], (angle + 0.4).cos())
    torch.testing.assert_close(objective(FEATURES, TARGETS), F.cross_entropy(10 * moved, TARGETS))
    plain = F.cross_entropy(objective.logits(FEATURES), TARGETS)
    torch.testing.assert_close(plain, F.cross_entropy(10 * cosines, TARGETS))
    assert objective(FEATURES, TARGETS) > plain + 0.5


def test_a_head_is_exported_with_the_same_logits():
    head = ArcFaceHead(8, 3).eval()
    torch.testing.assert_close(torch.export.export(head, (FEATURES,)).module()(FEATURES), head(FEATURES))
