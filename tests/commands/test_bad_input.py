"""Each mistake: one clear line, exit code 2, before training starts or without losing what is done."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.command_line import FAST, refused

SMALL = ("--image-size", 16, "--epochs", 1, "--seeds", 1)


def test_an_algorithm_with_too_few_domains_is_refused_before_training(afield, photos, tmp_path):
    said = refused(afield, "compare", "--data", photos, "--recipes", "erm", "coral", *SMALL, "--out", tmp_path / "out")
    assert "recipe 'coral': algorithm coral needs 2 or more training domains, got 1" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--recipes", "arcfase"), "unknown recipe 'arcfase'; did you mean 'arcface'"),
        (("--recipes", "erm", "erm"), "recipe 'erm' is given twice"),
        (("--backbone", "resnet19"), "unknown backbone 'resnet19'; did you mean 'resnet18'"),
        (("--data", "digitz"), "did you mean 'digits' or 'colored_digits'?"),
        (("--recipes", "erm", "erm+t3a"), "recipe 'erm+t3a' adapts to unlabeled images of the unseen domain; `afield"),
        (("--recipes", "dann"), "with --adapt-fraction, such as --adapt-fraction 0.5"),
        (("--recipes", "t3a", "--adapt-fraction", 1), "--adapt-fraction must lie between 0 and 1, got 1"),
        (("--adapt-fraction", 0.5, "--transductive"), "--adapt-fraction and --transductive are mutually exclusive"),
        (("--recipes", "t3a+shot+t3a", "--transductive"), "t3a+shot+t3a: a recipe is named twice"),
        (("--transductive", "--set", 'adaptation=["t3a", "t3a"]'), "recipe 'erm' adapts by 't3a' twice"),
        (("--recipes", "t3a", "--set", "adaptation=t3a"), "recipe 't3a': adaptation cannot be 't3a'"),
        (("--transductive", "--set", 'adaptation=["t3b"]'), "unknown adaptation 't3b'; did you mean 't3a'"),
        (("--transductive", "--set", "adaptation_options.t3a.supports=1"), "adaptation in adaptation_options: 't3a'"),
        (
            ("--recipes", "t3a", "--transductive", "--set", "adaptation_options.t3a.support=1"),
            "unknown option of adaptation t3a: 'support'; did you mean 'supports'",
        ),
        (
            ("--recipes", "tent", "--transductive", "--freeze"),
            "tent changes the backbone; --freeze provides extracted features only; to train on images, add --backbone",
        ),
        (("--recipes", "dann", "--transductive", "--freeze"), "algorithm dann needs images or feature maps"),
        (("--recipes", "dann", "--transductive", "--augment", "mixup"), "algorithm dann needs class indices"),
        (("--data", "./nowhere"), "--data ./nowhere: no such folder or file"),
        (("--epochs", -3), "epochs must be a whole number between 1 and 100000, got -3"),
        (("--seeds", 0), "--seeds must be a whole number between 1 and 1000, got 0"),
        (("--batch-size", 0), "batch_size must be a whole number between 1 and"),
        (("--learning-rate", "nan"), "learning_rate must lie between"),
        (("--learning-rate", "1e9"), "learning_rate must lie between"),
        (("--dropout", 1.5), "dropout must lie between 0 and 0.99, got 1.5"),
        (("--validation-fraction", 0), "validation fraction must lie between 0 and 1"),
        (("--image-size", 100000), "--image-size must be a whole number between 4 and 4096"),
        (("--devices", 0), "--devices must be a whole number between 1 and 1000, got 0"),
        (("--preset", "frozn"), "unknown preset 'frozn'; did you mean 'frozen'?"),
        (("--augment", "crop_flop"), "unknown augmentation 'crop_flop'; did you mean 'crop_flip'"),
        (("--augment", "crop+mixupp"), "unknown augmentation 'mixupp'; did you mean 'mixup'"),
        (("--recipes", "erm", "arcface", "--augment", "mixup"), "recipe 'arcface' cannot use mixup or cutmix"),
        (
            ("--recipes", "flattening", "--augment", "+".join(["mixup"] * 4)),
            "complement_flattening needs a wrong class in every row",
        ),
        (("--recipes", "adacos", "--set", "augment=crop+cutmix"), "AdaCosHead needs class indices [B]"),
        (("--precision", "16-mixed", "--device", "cpu"), "--precision 16-mixed needs a GPU; use --precision bf16 on a"),
        (
            ("--selection", "leave_one_out_validation", "--patience", 2),
            "--selection leave_one_out_validation needs all epochs of each run, without --patience",
        ),
        (("--clip-grad", -1), "clip_grad must lie between 0 and 1e+06, got -1"),
        (
            ("--set", "head=partial_fc", "head_options.share=0.5", "--clip-grad", 1),
            "--clip-grad does not support the sparse gradients of a sampled head",
        ),
        (("--weights", "missing.pth"), "--weights missing.pth: no such file"),
        (("--weights", "pretrained"), "backbone 'resnet8_ibn' has none"),
        (("--splits", "nolists"), "--splits nolists: found no *train*.txt and *crossval*.txt lists"),
        (("--recipes", "corl"), "unknown recipe 'corl'; did you mean 'coral'"),
        (("--recipes", "coral+mixstyle"), "the recipes conflict in algorithm: 'coral' has 'coral' and 'mixstyle' has"),
        (("--recipes", "arcface+cosface"), "the recipes conflict in head: 'arcface' has 'arcface' and 'cosface' has"),
        (("--recipes", "mixstyle+arcfce"), "unknown recipe 'arcfce'; did you mean 'arcface'"),
        (("--set", "algorithm=mixstile"), "unknown algorithm 'mixstile'; did you mean 'mixstyle'"),
        (("--recipes", "irm", "--set", "algorithm_options.penlty=1"), "'penlty'; did you mean 'penalty'"),
        (("--recipes", "irm", "--set", "algorithm_options.penalty=-1"), "penalty must be at least 0, got -1"),
        (("--recipes", "swad", "--set", "averaging_options.look=9"), "'look'; did you mean 'looks'"),
        (("--set", "averaging=swat"), "unknown weight averaging 'swat'; did you mean 'swad'"),
        (("--set", "averaging_options.looks=9"), "recipe 'erm' has averaging_options, but no averaging"),
        (("--set", "dropout=2"), "dropout must lie between 0 and 0.99, got 2"),
        (("--sampling", "balanced", "--batch-size", 2), "balanced batches of 3 domains need --batch-size 3"),
        (("--recipes", "mixstyle", "--freeze"), "algorithm mixstyle needs images or feature maps; a frozen backbone"),
        (("--recipes", "mixstyle", "--freeze"), "to train the last stages only, add --train-from STAGE"),
        (
            ("--recipes", "erm+learning_loss", "--freeze"),
            "algorithm learning_loss needs images or feature maps; a frozen backbone",
        ),
        (("--freeze", "--augment", "crop"), "augment='crop' needs --views or images; --freeze"),
        (("--set", "arcface.margin=3"), "unknown recipe field"),
        (("--recipes", "arcface", "--set", "arcface.head_options.margin=3"), "did you mean 'margin_rad'"),
        (
            ("--recipes", "arcface", "--set", "arcface.head_options.margin_rad=9"),
            "margin_rad must lie in [0, pi], got 9",
        ),
        (
            ("--recipes", "flattening", "--set", "flattening.losses.complement_flattening=-1"),
            "must lie between 0 and 1000, got -1",
        ),
        (("--set", "losses.cross_entrpy=1"), "did you mean 'cross_entropy'"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(afield, tmp_path, arguments, expected):
    out = tmp_path / "out"
    assert expected in refused(afield, "compare", *arguments, "--out", out)
    assert not (out / "runs").exists()


def test_an_unknown_choice_ends_with_code_2(afield):
    code, out, err = afield("compare", "--schedule", "zigzag")
    assert code == 2
    assert "cosine" in out + err


@pytest.mark.parametrize("recipe", ["fish", "sand_mask"])
def test_algorithms_that_compute_with_gradients_refuse_the_scaled_loss_of_fp16(afield, tmp_path, monkeypatch, recipe):
    monkeypatch.setattr("afield.commands.options.ExperimentOptions.make_fabric", lambda *_: None)
    line = refused(afield, "compare", "--recipes", "erm", recipe, "--precision", "16-mixed", "--out", tmp_path / "out")
    assert f"algorithm {recipe} computes with gradients, which --precision 16-mixed scales; use bf16" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("compare", "--selection", "oracel"), "unknown selection rule 'oracel'; did you mean 'oracle'"),
        (("list", "recipies"), "unknown kind 'recipies'; did you mean 'recipes'"),
        (("train", "--optimizer", "lamp"), "unknown optimizer 'lamp'; did you mean 'lamb'"),
        (("compare", "--set", "precision=bf16"), "all runs share the precision; set it with --precision"),
        (("compare", "--first-seed", -1), "--first-seed must be a whole number between 0 and 100000, got -1"),
        (("compare", "--set", "epochs=1.5"), "epochs must be a whole number between 1 and 100000, got 1.5"),
        (("compare", "--set", "optimizer=adamx"), "unknown optimizer 'adamx'; did you mean 'adamax'"),
    ],
)
def test_names_from_registries_are_checked_before_images_are_decoded(afield, monkeypatch, arguments, expected):
    monkeypatch.setattr("afield.commands.options.ImageOptions.load_data", lambda *_: pytest.fail("images were decoded"))
    assert expected in refused(afield, *arguments)


def _write(kind: str, path: Path) -> None:
    if kind == "text":
        path.write_text("not an image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:900])
    else:
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(9))))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("text", "not an image"), ("empty", "the file is empty"), ("truncated", "damaged"), ("bomb", "more pixels than")],
)
def test_a_bad_image_stops_or_is_counted_and_listed(afield, photos, tmp_path, kind, reason):
    _write(kind, photos / "day" / "cat" / "broken.jpg")
    line = refused(afield, "compare", "--data", photos, *SMALL, "--out", tmp_path / "out")
    assert "1 bad image in" in line
    assert "day/cat/broken.jpg" in line
    assert reason in line
    skip = ("--on-bad-image", "skip", "--recipes", "erm")
    code, _, err = afield("compare", "--data", photos, *SMALL, *skip, "--out", tmp_path / "out")
    assert code == 0
    assert "skipped 1 bad images" in err
    assert "day/cat/broken.jpg" in err


def test_an_empty_class_folder_is_named(afield, photos, tmp_path):
    (photos / "day" / "newt").mkdir()
    line = refused(afield, "compare", "--data", photos, *SMALL, "--out", tmp_path / "out")
    assert f"class folder {photos / 'day' / 'newt'} contains no images" in line


def test_a_class_that_one_domain_lacks_is_named_and_allowed(afield, photos, tmp_path):
    shutil.rmtree(photos / "night" / "owl")
    code, _, err = afield("compare", "--data", photos, *SMALL, "--recipes", "erm", "--out", tmp_path / "out")
    assert code == 0
    assert "night: 24 (no owl)" in err


def test_a_single_domain_is_cross_validated_and_leave_one_out_validation_refused(afield, photos, tmp_path):
    shutil.rmtree(photos / "night")
    shared = ("compare", "--data", photos, *SMALL, "--recipes", "erm", "--out", tmp_path / "out")
    code, out, err = afield(*shared)
    assert code == 0
    assert "each of 5 folds" in err
    assert "fold 5" in out


def test_leave_one_out_validation_needs_three_domains(afield, photos, tmp_path):
    arguments = ("--selection", "leave_one_out_validation", "--out", tmp_path / "out")
    line = refused(afield, "compare", "--data", photos, *SMALL, *arguments)
    assert "needs at least three domains" in line


def test_a_single_class_is_refused(afield, photos, tmp_path):
    for domain in ("day", "night"):
        shutil.rmtree(photos / domain / "dog")
        shutil.rmtree(photos / domain / "owl")
    line = refused(afield, "compare", "--data", photos, *SMALL, "--out", tmp_path / "out")
    assert "has a single class, 'cat'" in line


def test_the_same_image_in_two_domains_is_reported(afield, photos, tmp_path):
    shutil.copy(photos / "day" / "cat" / "00.png", photos / "night" / "cat" / "copy.png")
    code, _, err = afield("compare", "--data", photos, *SMALL, "--recipes", "erm", "--out", tmp_path / "out")
    assert code == 0
    assert "leakage: 1 image with the same pixels in day and night" in err


def test_the_same_image_in_train_and_test_is_reported(afield, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 12, 12, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez(
        tmp_path / "set.npz",
        train_images=images[:30], train_labels=labels[:30], test_images=images[28:], test_labels=labels[28:],
    )  # fmt: skip
    shared = ("--epochs", 1, "--seeds", 1, "--recipes", "erm", "--out", tmp_path / "out")
    code, _, err = afield("compare", "--data", tmp_path / "set.npz", *shared)
    assert code == 0
    assert "leakage: 2 images with the same pixels in test and train" in err


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc, where nobody can make a folder, is Linux's")
def test_an_output_that_cannot_be_written_is_refused_before_training(afield):
    assert "/proc/afield" in refused(afield, "compare", "--out", "/proc/afield")


def test_an_output_that_is_a_file_is_refused(afield, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write to" in refused(afield, "compare", "--out", tmp_path / "file")


def test_a_diverging_run_names_recipe_and_epoch(afield, tmp_path):
    line = refused(afield, "compare", *FAST, "--learning-rate", 900, "--out", tmp_path / "out")
    assert "the loss of erm, without black, seed 0 became" in line
    assert "in epoch 1" in line


def test_a_full_disk_ends_with_one_line_and_what_is_done_stays(afield, photos, tmp_path, monkeypatch):
    from afield.records import write_atomic

    out = tmp_path / "out"
    shared = ("compare", "--data", photos, *SMALL, "--recipes", "erm", "arcface", "--out", out)
    finished = []

    def full_after_two(path: Path, content: str | bytes) -> None:
        if path.name == "record.json":
            if len(finished) == 2:
                raise OSError(28, "No space left on device", str(path))
            finished.append(path)
        write_atomic(path, content)

    monkeypatch.setattr("afield.records.files.write_atomic", full_after_two)
    line = refused(afield, *shared)
    assert "No space left on device" in line
    monkeypatch.undo()
    assert len(list(out.glob("runs/*/done"))) == 2
    code, _, _ = afield(*shared)
    assert code == 0


def test_images_of_a_size_that_the_backbone_does_not_take_are_refused_before_training(afield, photos, tmp_path):
    arguments = ("--backbone", "vit_tiny_patch16_224", "--image-size", 32, "--out", tmp_path / "out")
    line = refused(afield, "compare", "--data", photos, *arguments)
    assert "backbone vit_tiny_patch16_224 does not support images of 32 x 32 pixels" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(afield, tmp_path):
    assert "--device cuda --devices 1: " in refused(afield, "compare", "--device", "cuda", "--out", tmp_path / "out")


def test_two_classes_warn_that_there_is_nothing_to_flatten(afield, photos, tmp_path):
    for domain in ("day", "night"):
        shutil.rmtree(photos / domain / "owl")
    arguments = ("compare", "--data", photos, *SMALL, "--recipes", "erm", "flattening", "--out", tmp_path / "out")
    with pytest.warns(UserWarning, match="complement_flattening with two classes is 0"):
        code, _, _ = afield(*arguments)
    assert code == 0


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ("plenty", "--memory must be an amount of memory such as 2GiB, 1.5GB or 800M, got 'plenty'"),
        ("40KB", "--memory must be at least 2MB for batches of 64 such images, got 0.04MB"),
    ],
)
def test_memory_that_says_nothing_or_is_too_little_is_refused(afield, photos, tmp_path, memory, expected):
    assert expected in refused(afield, "compare", "--data", photos, *SMALL, "--memory", memory, "--out", tmp_path / "o")
