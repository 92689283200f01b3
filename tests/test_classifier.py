"""A classifier whose features are standardized."""

from __future__ import annotations

import torch
from torch import nn

from afield.classifier import Classifier, FeatureNorm
from tests.classifiers import small_classifier


def with_norm(norm: FeatureNorm | None) -> Classifier:
    plain = small_classifier().eval()
    return Classifier(
        plain.backbone, plain.objective, mean=(0,) * 3, std=(1,) * 3, dropout=0.0, feature_norm=norm
    ).eval()


def test_a_feature_norm_is_the_identity_until_its_statistics_are_set():
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    plain, found = with_norm(None), with_norm(FeatureNorm(5))
    assert torch.equal(found.logits(inputs), plain.logits(inputs))
    assert "feature_norm.mean" in found.state_dict()
    assert plain.state_dict().keys() == small_classifier().state_dict().keys()


def test_the_head_sees_standardized_features_and_the_backbones_stay_at_hand():
    norm = FeatureNorm(2)
    norm.mean.copy_(torch.tensor([1.0, -2.0]))
    norm.std.copy_(torch.tensor([2.0, 0.5]))
    assert norm(torch.tensor([[3.0, -2.0], [1.0, -1.0]])).tolist() == [[1.0, 0.0], [0.0, 2.0]]
    plain = small_classifier()
    classifier = Classifier(
        nn.Linear(4, 2), plain.objective, mean=(0,) * 3, std=(1,) * 3, dropout=0.0, feature_norm=norm
    )
    inputs = torch.randn(3, 4)
    torch.testing.assert_close(classifier.features(inputs), norm(classifier.backbone_features(inputs)))
    torch.testing.assert_close(classifier.backbone_features(inputs), classifier.backbone(inputs))
