"""What algorithms keep beside the classifier: the layers, and their sizes by default."""

from __future__ import annotations

import pytest
from torch import nn

from tests.algorithms.small import small

STATE = {
    "domain_dann": {"discriminator.0.weight": (256, 5), "discriminator.3.weight": (256, 256)}
    | {"discriminator.6.weight": (3, 256)},
    "cdann": {"discriminator.0.weight": (256, 5), "discriminator.3.weight": (256, 256)}
    | {"discriminator.6.weight": (3, 256), "class_embedding.weight": (3, 5)},
    "dann": {"discriminator.layers.0.weight": (1024, 5), "discriminator.layers.3.weight": (1024, 1024)}
    | {"discriminator.layers.6.weight": (1, 1024)},
    "cdan": {"discriminator.layers.0.weight": (1024, 15), "discriminator.layers.3.weight": (1024, 1024)}
    | {"discriminator.layers.6.weight": (1, 1024)},
    "selfreg": {"projection.0.weight": (10, 5), "projection.3.weight": (10, 10), "projection.6.weight": (5, 10)}
    | {"projection.1.weight": (10,), "projection.4.weight": (10,), "projection.7.weight": (5,)},
    "masf": {"embedding.0.weight": (1024, 5), "embedding.2.weight": (256, 1024)},
    "jigen": {"solver.weight": (31, 5)},
    "mmd_aae": {"decoder.0.weight": (128, 5), "decoder.2.weight": (768, 128)}
    | {"adversary.0.weight": (128, 5), "adversary.2.weight": (1, 128)},
    "crossgrad": {"domain_network.layers.0.weight": (16, 3, 3, 3), "domain_network.layers.3.weight": (32, 16, 3, 3)}
    | {"domain_network.layers.6.weight": (64, 32, 3, 3), "domain_network.out.weight": (3, 64)}
    | {f"domain_network.layers.{layer}.weight": (width,) for layer, width in ((1, 16), (4, 32), (7, 64))},
    "urm": {"discriminator.0.weight": (100, 5), "discriminator.2.weight": (100, 100)}
    | {"discriminator.4.weight": (1, 100)},
    "sagnet": {"style.head.weight": (3, 5)},
    "mcd": {"second.head.weight": (3, 5)},
    "groupdro": {"weights": (3,)},
    "fishr": {"variances": (3, 3, 6)},
    "mtl": {"embeddings": (3, 5), "context.weight": (5, 5)},
    "trm": {"shares": (3, 3)} | {f"predictors.{domain}.head.weight": (3, 5) for domain in range(3)},
    "arm": {"context.0.weight": (64, 3, 5, 5), "context.1.weight": (64,), "context.3.weight": (64, 64, 5, 5)}
    | {"context.4.weight": (64,), "context.6.weight": (3, 64, 5, 5)},
    **{
        name: {}
        for name in ("erm", "sd", "cad", "sam", "fish", "iga", "rdm", "eqrm", "and_mask", "amplitude_mix", "transfer")
    },
}


@pytest.mark.parametrize(("name", "expected"), STATE.items())
def test_what_an_algorithm_keeps_beside_the_classifier(name, expected):
    algorithm, _ = small(name)
    found = {key: tuple(value.shape) for key, value in algorithm.state_dict().items() if "classifier" not in key}
    biases = ("bias", "running_mean", "running_var", "num_batches_tracked")
    assert {key: shape for key, shape in found.items() if not key.endswith(biases)} == expected
    parameters = [key for key, _ in algorithm.named_parameters()]
    assert all((key in parameters) == (key not in ("weights", "variances", "embeddings", "shares")) for key in expected)


def test_layers_of_discriminators_and_projections():
    kinds = {name: small(name)[0] for name in ("domain_dann", "selfreg", "masf", "crossgrad")}
    assert [type(layer) for layer in kinds["domain_dann"].discriminator] == [
        *2 * [nn.Linear, nn.ReLU, nn.Dropout],
        nn.Linear,
    ]
    assert [layer.p for layer in kinds["domain_dann"].discriminator if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert [type(layer) for layer in kinds["selfreg"].projection] == [
        *2 * [nn.Linear, nn.BatchNorm1d, nn.ReLU],
        *(nn.Linear, nn.BatchNorm1d),
    ]
    leaks = [layer.negative_slope for layer in kinds["masf"].embedding if isinstance(layer, nn.LeakyReLU)]
    assert leaks == [0.2, 0.2]
    convs = [layer for layer in kinds["crossgrad"].domain_network.layers if isinstance(layer, nn.Conv2d)]
    assert [(conv.stride, conv.padding, conv.bias) for conv in convs] == [((2, 2), (1, 1), None)] * 3
