"""The algorithms that both have, with equal hyper-parameters, and what differs."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from domainbed_patches import (
    adversary_at_head,
    ascent_first,
    average_from_third_step,
    concatenated,
    contrastive_with_constants,
    first_order_step,
    fixed_kernels,
    kept_with_graph,
    one_channel,
    other_branch,
    part_sizes,
    predictors_at_head,
    quantile_by_ends,
    remixed_in_turn,
    series_of_weights,
    shifted_partners,
    shifts,
    signed_for_ours,
    uniform,
    with_mean,
)
from domainbed_steps import (
    EACH,
    IMAGE,
    RATE,
    STEPS,
    Case,
    ImageFeaturizer,
    PaddedFeaturizer,
    Patch,
    Report,
    Setup,
    images,
    with_equal_halves,
)
from torch import Tensor, nn

from afield.algorithms import (
    adrmx,
    arm,
    causirl,
    domain_dann,
    domain_mixup,
    domain_mmd,
    eqrm,
    mldg,
    mtl,
    rdm,
    selfreg,
    trm,
    urm,
)


def penalized(
    name: str, theirs: str, factor: float, objective: str = "loss"
) -> Mapping[str, Callable[[Report], float]]:
    """Their objective and their penalty, which they report without its factor, by our names."""
    return {"objective": lambda r: r[objective], name: lambda r: factor * r[theirs]}


def with_total(name: str, theirs: str, factor: float) -> Mapping[str, Callable[[Report], float]]:
    """The same where they report the sum as the loss."""
    return {"total": lambda r: r["loss"], name: lambda r: factor * r[theirs]}


DIVIDED = "After the annealing, our terms are divided by the factor of the penalty; DomainBed restarts Adam instead."
HALVES = "DomainBed multiplies the slopes of two halves of a batch; here the slope of the whole batch is squared."
KERNELS = "The widths of our kernels follow the mean distance; DomainBed's are fixed, and it adds up their values."
IN_TURN = "DomainBed updates the parts in turn, each at the weights that the others have reached."
FLOAT32 = " It computes the weights of the classes in float32."
REVERSED = "The factor of our reversed gradient rises from 0, and our discriminator has dropout."


def cases() -> list[Case]:
    """All algorithms that both have."""
    seven = fixed_kernels(0.001, 0.01, 0.1, 1, 10, 100, 1000)
    in_order: Patch = (torch, "randperm", torch.arange)
    mixed: tuple[Patch, ...] = (
        in_order,
        (np.random, "beta", lambda *_: 0.3),
        (domain_mixup, "Beta", lambda *_: types.SimpleNamespace(sample=lambda: torch.tensor(0.3))),
        (domain_mixup, "partners_elsewhere", lambda domains: torch.arange(len(domains)).roll(-EACH)),
    )
    their_size, our_size = part_sizes(), part_sizes()
    split: tuple[Patch, ...] = (
        (np.random, "randint", their_size),
        (torch, "randint", lambda *_: torch.tensor(our_size())),
    )
    drawn: tuple[Patch, ...] = (
        (torch, "randperm", shifts()),
        (selfreg, "same_class_partners", shifted_partners()),
        (torch, "sort", functools.partial(torch.sort, stable=True)),
        (np.random, "beta", lambda *_: 0.3),
        (selfreg, "Beta", lambda *_: types.SimpleNamespace(sample=lambda: torch.tensor(0.3))),
    )
    styles: tuple[Patch, ...] = (
        (torch, "randperm", lambda count: torch.arange(count).roll(5)),
        (torch, "rand", lambda count, _: torch.linspace(0.1, 0.9, count)[:, None]),
    )
    last: tuple[Patch, ...] = (in_order, (torch, "randint", lambda high, size: torch.tensor(high - 1)))
    steady: tuple[Patch, ...] = ((domain_dann, "ramp", lambda progress: 1.0), (nn, "Dropout", lambda *_: nn.Identity()))
    remixed: tuple[Patch, ...] = (
        *steady[1:],
        (adrmx, "ramp", lambda progress: 1.0),
        (adrmx, "supervised_contrastive", contrastive_with_constants),
        (torch, "randperm", shifts()),
        (adrmx, "partners_of_class_elsewhere", remixed_in_turn()),
    )
    signed: tuple[Patch, ...] = (
        (torch, "rand", signed_for_ours),
        (urm, "magnitudes", lambda features: features),
        (importlib.import_module("domainbed.algorithms").URM, "_modify_generator_output", lambda _: None),
    )
    embedded: tuple[Patch, ...] = (
        (Tensor, "normal_", kept_with_graph(Tensor.normal_)),
        (mtl, "centered", lambda embeddings: embeddings),
    )
    averaged = Setup(
        {"head": 0.4},
        {"lars": False, "linear_lr": RATE, "linear_steps": 1, "freeze_bn": True},
        averaging={"start": 0.4},
        progress=lambda step: step / STEPS,
    )
    adversarial = {"lambda": 1.0, "lr_d": RATE, "lr_g": RATE, "weight_decay_d": 0.0, "weight_decay_g": 0.0}
    adversarial |= {"beta1": 0.5, "grad_penalty": 0.0, "d_steps_per_g_step": 1}
    adversarial |= {"mlp_width": 16, "mlp_depth": 3, "mlp_dropout": 0.0}
    irm = {"irm_lambda": 100.0, "irm_penalty_anneal_iters": -1}
    bottleneck = {"ib_lambda": 100.0, "ib_penalty_anneal_iters": -1}
    contrastive = {"lmbda": 0.1, "temperature": 0.1, "is_project": False, "is_normalized": False, "is_flipped": True}
    nearby = {"t_lambda": 0.5, "delta": 0.1, "d_steps_per_g": 10, "lr_d": 0.1, "gda": False}
    near = {"penalty": 0.5, "radius": 0.1, "steps": 10, "rate": 0.1}
    transferred = {"iters": 0, "cos_lambda": 1.0, "groupdro_eta": 0.01}
    uniformed = {"urm_adv_lambda": 0.1, "urm_discriminator_lr": RATE, "urm_discriminator_optimizer": "adam"}
    uniformed |= {"urm_generator_output": "tanh", "urm_discriminator_label_smoothing": 0}
    uniformed |= {"urm_discriminator_hidden_layers": 1}
    disentangled = adversarial | {"cnt_lambda": 1.0, "dclf_lambda": 1.0, "rmxd_lambda": 1.0, "disc_lambda": 0.75}
    matched = {"rdm_lambda": 5.0, "rdm_penalty_anneal_iters": -1, "rdm_lr": RATE}
    networks = (("network.net.0", "classifier.backbone"), ("network.net.1", "classifier.objective.head"))
    gaussian = {"options": {"penalty": 1.0}, "hparams": {"mmd_gamma": 1.0}}
    return [
        Case("erm", "ERM"),
        Case(
            "erm_plus_plus",
            "ERMPlusPlus",
            averaged,
            aligned=replace(averaged, sgd=True),
            deviations="DomainBed trains the head with an optimizer of its own, in one step more than it is set to (in "
            "the same number of steps in this comparison), and averages from the step before the set one (from the "
            "same one). The running statistics of its averaged network follow the batches; ours are averaged like the "
            "weights (the network has none).",
            modules=(
                ("network.0", "algorithm.classifier.backbone"),
                ("network.1", "algorithm.classifier.objective.head"),
                ("network_sma.0", "average.backbone"),
                ("network_sma.1", "average.objective.head"),
            ),
            prepare=average_from_third_step,
        ),
        Case(
            "irm",
            "IRM",
            Setup({"penalty": 100.0}, irm),
            penalized("irm", "penalty", 100.0, "nll"),
            Setup({"penalty": 100.0}, irm, factor=100.0, batches=with_equal_halves),
            f"{DIVIDED} {HALVES}",
        ),
        Case(
            "vrex",
            "VREx",
            Setup({"penalty": 10.0}, {"vrex_lambda": 10.0, "vrex_penalty_anneal_iters": -1}),
            with_total("vrex", "penalty", 10.0),
            Setup({"penalty": 10.0}, {"vrex_lambda": 10.0, "vrex_penalty_anneal_iters": -1}, factor=10.0),
            DIVIDED,
        ),
        Case("groupdro", "GroupDRO", Setup({"rate": 0.01}, {"groupdro_eta": 0.01})),
        Case(
            "domain_mixup",
            "Mixup",
            Setup({"alpha": 0.2}, {"mixup_alpha": 0.2}, mixed),
            deviations="The draws of DomainBed are for pairs of whole domains. They are equal in this comparison.",
        ),
        Case(
            "mldg",
            "MLDG",
            Setup({"inner_rate": RATE}, {"mldg_beta": 1.0, "n_meta_test": 1}, last),
            aligned=Setup(
                {"inner_rate": RATE},
                {"mldg_beta": 1.0, "n_meta_test": 1},
                (*last, (mldg, "inner_step", first_order_step)),
                factor=0.5,
                domains=2,
            ),
            deviations="DomainBed leaves out second derivatives, takes the inner step with Adam (with SGD in this "
            "comparison) and on each of the other domains alone, and divides by the number of domains.",
        ),
        Case("coral", "CORAL", Setup({"penalty": 1.0}, {"mmd_gamma": 1.0}), penalized("coral", "penalty", 1.0)),
        Case(
            "domain_mmd",
            "MMD",
            Setup(**gaussian),
            penalized("mmd", "penalty", 1.0),
            Setup(**gaussian, patches=((domain_mmd, "multi_kernel_mmd", seven),)),
            KERNELS,
        ),
        *(
            Case(
                ours,
                theirs,
                Setup({"adversary": 1.0, "hidden": 16}, adversarial),
                {"objective": lambda r: r["gen_loss"] + r["disc_loss"], "domain": lambda r: r["disc_loss"]},
                Setup({"adversary": 1.0, "hidden": 16}, adversarial, steady, joint=True),
                f"{REVERSED} {IN_TURN}{more}",
                (*Case.modules, ("discriminator", "discriminator"), *embeddings),
                updates=2,
            )
            for ours, theirs, embeddings, more in (
                ("domain_dann", "DANN", (), ""),
                ("cdann", "CDANN", (("class_embeddings", "class_embedding"),), FLOAT32),
            )
        ),
        Case(
            "sagnet",
            "SagNet",
            Setup({"adversary": 0.1}, {"sag_w_adv": 0.1}, styles),
            {"objective": lambda r: r["loss_c"], "style": lambda r: r["loss_s"], "adversary": lambda r: r["loss_adv"]},
            Setup({"adversary": 0.1}, {"sag_w_adv": 0.1}, styles, joint=True),
            f"{IN_TURN} It draws another partner for the adversary.",
            modules=(
                ("network_f", "classifier.backbone"),
                ("network_c", "classifier.objective.head"),
                ("network_s", "style.head"),
            ),
        ),
        Case("rsc", "RSC", Setup(hparams={"rsc_f_drop_factor": 1 / 3, "rsc_b_drop_factor": 1 / 3})),
        Case(
            "fish",
            "Fish",
            Setup({"inner_rate": RATE}, {"meta_lr": 0.5}, (in_order,)),
            {},
            Setup({"inner_rate": RATE}, {"meta_lr": 0.5}, (in_order,), factor=1.5),
            "DomainBed moves the weights by a fraction of the distance that is covered on the domains, whose steps are "
            "those of Adam (of SGD in this comparison); here the optimizer uses the distance as a gradient.",
            networks,
        ),
        Case("sd", "SD", Setup({"penalty": 0.1}, {"sd_reg": 0.1}), penalized("sd", "penalty", 0.1)),
        Case(
            "and_mask",
            "ANDMask",
            Setup({"agreement": 1.0}, {"tau": 1.0}),
            deviations="DomainBed computes the share of the mask in float32.",
        ),
        Case("sand_mask", "SANDMask", Setup({"agreement": 0.5, "steepness": 10.0}, {"tau": 0.5, "k": 10.0})),
        Case("iga", "IGA", Setup({"penalty": 0.01}, {"penalty": 0.01}), penalized("iga", "penalty", 0.01)),
        Case(
            "selfreg",
            "SelfReg",
            Setup(patches=drawn),
            aligned=Setup(patches=drawn, trained="classifier"),
            deviations="In DomainBed the optimizer does not update the projection, which keeps its random weights.",
            modules=(*Case.modules, ("cdpl", "projection")),
        ),
        Case(
            "fishr",
            "Fishr",
            Setup({"penalty": 1000.0}, {"lambda": 1000.0, "penalty_anneal_iters": 0, "ema": 0.95}),
            penalized("fishr", "penalty", 1000.0, "nll"),
            Setup({"penalty": 1000.0}, {"lambda": 1000.0, "penalty_anneal_iters": 0, "ema": 0.95}, factor=1000.0),
            DIVIDED,
        ),
        Case(
            "ib_erm",
            "IB_ERM",
            Setup({"penalty": 100.0}, bottleneck),
            with_total("bottleneck", "IB_penalty", 100.0),
            Setup({"penalty": 100.0}, bottleneck, factor=100.0),
            DIVIDED,
        ),
        Case(
            "ib_irm",
            "IB_IRM",
            Setup({"penalty": 100.0, "bottleneck": 100.0}, irm | bottleneck),
            with_total("bottleneck", "IB_penalty", 100.0),
            Setup({"penalty": 100.0, "bottleneck": 100.0}, irm | bottleneck, factor=100.0, batches=with_equal_halves),
            f"{DIVIDED} {HALVES}",
        ),
        *(
            Case(
                ours,
                theirs,
                Setup({"penalty": 0.1, "temperature": 0.1}, contrastive),
                penalized("bottleneck", "bn_loss", 0.1, "clf_loss"),
            )
            for ours, theirs in (("cad", "CAD"), ("cond_cad", "CondCAD"))
        ),
        Case(
            "causirl_coral",
            "CausIRL_CORAL",
            Setup({"penalty": 1.0}, {"mmd_gamma": 1.0}, split),
            penalized("distance", "penalty", 1.0),
        ),
        Case(
            "causirl_mmd",
            "CausIRL_MMD",
            Setup(**gaussian, patches=split),
            penalized("distance", "penalty", 1.0),
            Setup(**gaussian, patches=(*split, (causirl, "multi_kernel_mmd", seven))),
            KERNELS,
        ),
        Case(
            "eqrm",
            "EQRM",
            Setup({"quantile": 0.75}, {"eqrm_quantile": 0.75, "eqrm_burnin_iters": -1, "eqrm_lr": RATE}),
            aligned=Setup(
                {"quantile": 0.75},
                {"eqrm_quantile": 0.75, "eqrm_burnin_iters": -1, "eqrm_lr": RATE},
                ((eqrm, "kernel_quantile", quantile_by_ends),),
            ),
            deviations="DomainBed differentiates the ends of its bisection in place of the quantile.",
        ),
        Case(
            "rdm",
            "RDM",
            Setup({"penalty": 5.0}, matched | {"variance_weight": 0.004}),
            {"total": lambda r: r["total_loss"]},
            Setup(
                {"penalty": 5.0},
                matched | {"variance_weight": 0.0},
                ((rdm, "multi_kernel_mmd", fixed_kernels(0.0001, 0.001, 0.01, 0.1, 1, 10, 100, 1000)),),
                factor=5.0,
            ),
            f"{KERNELS} {DIVIDED} DomainBed also penalizes the variance of the losses.",
        ),
        Case(
            "arm",
            "ARM",
            Setup(hparams={"batch_size": EACH}, batches=images),
            aligned=Setup(
                hparams={"batch_size": EACH},
                patches=((arm, "group_means", with_mean),),
                batches=images,
                trained="classifier",
            ),
            deviations="Here, the mean context of the batch is subtracted. In DomainBed the optimizer does not update "
            "the context network, which keeps its random weights, and the context is a further channel of the image "
            "(one of the three channels has a context in this comparison).",
            modules=(*Case.modules, ("context_net.context_net", "context")),
            shape=IMAGE,
            network=ImageFeaturizer,
            prepare=one_channel,
        ),
        Case(
            "mtl",
            "MTL",
            Setup({"decay": 0.01}, {"mtl_ema": 0.99}),
            aligned=Setup({"decay": 0.01}, {"mtl_ema": 0.99}, embedded, factor=3.0),
            deviations="DomainBed replaces the embedding by random numbers, and adds up the losses of the domains. "
            "Here, the mean embedding is subtracted, and a trained matrix adds the embedding to the features (fixed in "
            "this comparison, so that the head sees both as in DomainBed).",
            network=PaddedFeaturizer,
            prepare=concatenated,
        ),
        Case(
            "trm",
            "TRM",
            Setup({"implicit": 1.0, "rate": 0.01}, transferred),
            {"objective": lambda r: r["nll"], "transfer+implicit": lambda r: r["trm_loss"]},
            Setup(
                {"implicit": 1.0, "rate": 0.0},
                transferred | {"groupdro_eta": 0.0},
                ((trm, "solve_by_series", series_of_weights),),
            ),
            "DomainBed's Hessian is that of the weights without the biases, and the second term of its series takes "
            "the place of the first one. It changes the weights of the domains before the gradient, by weighted risks "
            "(without the deviations, these weights are fixed). Its predictors start at random weights (at the head in "
            "this comparison).",
            prepare=predictors_at_head,
        ),
        Case(
            "transfer",
            "Transfer",
            Setup(near, nearby),
            {"objective": lambda r: r["loss"], "gap": lambda r: r["gap"]},
            Setup(near | {"rate": 0.05}, nearby, joint=True, update=ascent_first),
            "DomainBed uses the result of the ascent in the next step, its optimizer takes one step for the objective "
            "and one for the gap, and the rate of its ascent is multiplied by the factor of the gap.",
            prepare=adversary_at_head,
        ),
        Case(
            "adrmx",
            "ADRMX",
            Setup({"adversary": 0.75, "hidden": 16}, disentangled),
            {
                "objective": lambda r: r["loss_clf_int"],
                "invariant": lambda r: r["loss_clf_fin"],
                "domain": lambda r: r["loss_dmn"],
                "remix": lambda r: r["loss_remixed"],
                "contrast": lambda r: r["loss_cnt_int"] + r["loss_cnt_final"],
                "adversary": lambda r: r["loss_disc"],
            },
            Setup({"adversary": 0.75, "hidden": 16}, disentangled, remixed, joint=True),
            f"{REVERSED} {IN_TURN} It remixes one pair of examples for each class, of any class and domain, and has "
            "constants in the contrastive loss. Its heads have hidden layers, and its discriminator has more of them "
            "(as many as ours in this comparison).",
            (
                ("featurizer_label", "classifier.backbone"),
                ("classifier_label_1", "classifier.objective.head"),
                ("featurizer_domain", "domain_branch.backbone"),
                ("classifier_label_2", "domain_branch.objective.head"),
                ("classifier_domain", "domain_head"),
                ("discriminator", "discriminator"),
            ),
            updates=2,
            prepare=other_branch,
        ),
        Case(
            "urm",
            "URM",
            Setup({"adversary": 0.1}, uniformed, ((torch, "rand", uniform),)),
            {"objective+uniform": lambda r: r["loss"]},
            Setup({"adversary": 0.1}, uniformed, signed),
            "In DomainBed the features pass through tanh before the head and the discriminator, and the noise is in "
            "[-1, 1); here, only the discriminator receives tanh of their magnitudes, and the noise is in [0, 1).",
            (*Case.modules, ("discriminator", "discriminator")),
        ),
    ]
