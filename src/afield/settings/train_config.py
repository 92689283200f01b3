"""The training settings. Options, checks and documentation are generated from their definition here."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from afield.distributions import Choice, LogUniform, Scaled
from afield.errors import InputError, first_line, unknown_name
from afield.validation import Checked, check_number, setting

OPTIMIZERS: Final = ("sgd", "nesterov", "adamw")
"""Optimizers created by afield. All others are created by timm."""

CLASS_WEIGHTS: Final = ("none", "balanced", "effective")
"""Rules for class weights."""


def read_class_weights(text: str) -> dict[str, float]:
    """The weights in a text such as ``cat=2,dog=0.5``, by class name; empty for the names of rules.

    Raises:
        InputError: if the text is neither a rule nor a list of weights from 0 to 1000.
    """
    if text in CLASS_WEIGHTS:
        return {}
    weights = {}
    for pair in text.split(","):
        name, equals, number = pair.rpartition("=")
        try:
            weights[name] = float(number)
            check_number(f"the weight of class {name}", weights[name], 0, 1000)
        except ValueError:
            equals = ""
        if not (name and equals):
            allowed = f"{', '.join(CLASS_WEIGHTS)} or NAME=WEIGHT,NAME=WEIGHT"
            raise InputError(f"class_weights must be {allowed}, such as cat=2,dog=0.5; got {text!r}")
    return weights


def check_optimizer(name: str) -> None:
    """Raise `InputError` if the optimizer is unknown or not available.

    Two optimizers of timm are not supported: adahessian needs second-order gradients, and the state of kron cannot be
    saved in a checkpoint.
    """
    if name in OPTIMIZERS:
        return
    from timm.optim import get_optimizer_class, list_optimizers  # type: ignore[attr-defined]

    known = list_optimizers(exclude_filters=["adahessian", "kron*"])
    if name not in known:
        unknown_name("optimizer", name, [*OPTIMIZERS, *map(str, known)])
    try:
        get_optimizer_class(name)
    except (AssertionError, ImportError) as error:
        raise InputError(f"optimizer {name!r} is not available: {first_line(error)}") from None


@dataclass(frozen=True)
class TrainConfig(Checked):
    """All training settings. A recipe can override any of them, except `precision`.

    Raises:
        InputError: if a value is out of range or unknown.
    """

    epochs: int = setting(30, "Passes over the training images.", low=1, high=100_000, search=Scaled(0.5, 2))
    batch_size: int = setting(
        128, "Images per step, over all devices.", low=1, high=1_000_000, search=Scaled(0.25, 1.4)
    )
    accumulate: int = setting(
        1,
        "Number of micro-batches per batch, for batches that do not fit into memory. The sum of their gradients equals "
        "the gradient of the batch, except with batch normalization and with losses that compare images.",
        low=1,
        high=1_000_000,
    )
    optimizer: str = setting(
        "sgd",
        "Optimizer.",
        values="sgd (with momentum), nesterov, adamw, or a name from timm.optim.list_optimizers(), such as lamb",
        check_text=check_optimizer,
    )
    learning_rate: float = setting(0.02, "Peak learning rate.", low=1e-12, high=1e3, search=Scaled(0.2, 6.3))
    norm_bias_rate: float = setting(
        1.0,
        "Factor of the learning rate for biases of normalization layers. Their weight decay is divided by it.",
        low=1e-3,
        high=1e3,
    )
    layer_decay: float = setting(
        1.0,
        "Factor of the learning rate from each layer of the backbone to the layer before it; the head has the full "
        "rate.",
        low=1e-3,
        high=1,
    )
    batch_norm: Literal["train", "fixed"] = setting(
        "train",
        "Batch normalization of the backbone: train, with the statistics of each batch; fixed, with those that the "
        "weights contain.",
    )
    momentum: float = setting(
        0.9, "Momentum of sgd, nesterov and timm's optimizers with momentum; first beta of adamw.", low=0, high=0.9999
    )
    weight_decay: float = setting(
        5e-4,
        "Weight decay: L2 for sgd and nesterov, decoupled for adamw.",
        low=0,
        high=10,
        search=LogUniform(1e-6, 1e-2),
    )
    schedule: Literal["constant", "step", "cosine", "linear"] = setting(
        "cosine",
        "Learning rate schedule: constant; step, one drop (--step-at, --step-factor); cosine or linear decay to 0.",
    )
    warmup: float = setting(
        0.0, "Fraction of the steps during which the learning rate increases linearly from 0.", low=0, high=1
    )
    step_at: float = setting(
        0.8, "Fraction of the steps after which --schedule step reduces the learning rate.", low=0, high=1
    )
    step_factor: float = setting(0.1, "Factor by which --schedule step multiplies the learning rate.", low=0, high=1)
    clip_grad: float = setting(
        0.0,
        "Largest norm of the gradient of all parameters together. A larger one is scaled down to it; 0 clips none.",
        low=0,
        high=1e6,
    )
    patience: int = setting(
        0,
        "Number of epochs without a better metric on validation images after which training stops. The learning rate "
        "schedule is that of all epochs; 0 trains all of them.",
        low=0,
        high=100_000,
    )
    dropout: float = setting(
        0.0, "Dropout probability of the features before the head.", low=0, high=0.99, search=Choice((0.0, 0.1, 0.5))
    )
    augment: str = setting(
        "none",
        "Augmentation of the training images, for recipes that do not set it.",
        values="a name from `afield list augmentations`, the .json file of a policy, or several joined by +",
    )
    sampling: Literal["auto", "shuffled", "balanced", "class_balanced"] = setting(
        "auto",
        "Sampling of batches: shuffled, over all domains; balanced, with the same number of images from each domain; "
        "class_balanced, with the same number from each class; auto, as the algorithm of the recipe requires.",
    )
    class_weights: str = setting(
        "none",
        "Weights of the classes in all losses.",
        values="none; balanced, inverse to the number of training images; effective, inverse to their effective "
        "number; or NAME=WEIGHT,NAME=WEIGHT, such as cat=2,dog=0.5 (1 for other classes)",
        check_text=read_class_weights,
    )
    class_weights_beta: float = setting(
        0.9999, "Beta of --class-weights effective; towards 1 the weights become balanced.", low=0, high=0.9999999
    )
    class_weights_from: float = setting(
        0.0, "Fraction of the epochs after which --class-weights apply (deferred re-weighting).", low=0, high=1
    )
    class_adjustment: float = setting(
        0.0,
        "Logit adjustment at prediction: factor of the logarithm of the class frequencies that is subtracted from the "
        "logits.",
        low=0,
        high=10,
    )
    precision: Literal["32", "bf16", "16-mixed"] = setting(
        "32", "Numeric precision: 32 bits, bf16 mixed precision, or fp16 mixed precision with a scaled loss (on a GPU)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("accumulate", self.accumulate, 1, self.batch_size)

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The learning rate at a step from 0 to ``steps - 1``."""
        rise = self.warmup * steps
        if step < rise:
            return self.learning_rate * (step + 1) / (rise + 1)
        match self.schedule:
            case "constant":
                return self.learning_rate
            case "step":
                return self.learning_rate * (self.step_factor if step >= self.step_at * steps else 1)
            case "linear":
                return self.learning_rate * (steps - step) / (steps - rise)
            case "cosine":
                return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
