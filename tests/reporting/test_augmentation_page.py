"""What an augmentation does, in words and on a page: right numbers, right pixels, nothing fetched."""

from __future__ import annotations

import base64
import io
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import afield as package
from afield.augment import (
    AUGMENTATIONS,
    AffineAugmentor,
    AffineParams,
    AugmentorConfig,
    Draws,
    RandomAffine,
    RandomResizedCrop,
    build_chain,
    compose,
    in_words,
)
from afield.augment.boxes import Boxes
from afield.augment.mixing import CutPairs, Pairs
from afield.augment.params import PerImage
from afield.augment.policies.augmix import MixtureDraws
from afield.augment.policies.operations import kind
from afield.augment.standard import StandardParams
from afield.data.images import ImageSet
from afield.preview.draws import ranges, subjects
from afield.preview.failures import hardest
from tests.command_line import refused
from tests.reporting.contrasts import CONTRASTS

SIZE = (32, 64)


def one(*values: Any) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


def affine(rotation: float = 0.0, x: float = 0.0, y: float = 0.0, applied: bool = True) -> AffineParams:
    return AffineParams(compose(torch.tensor([[rotation, 0.0, 0.0, 0.0, x, y]])), torch.tensor([applied]))


CROP = dict(zip(("center_x", "center_y", "half_width", "half_height"), one(0.25, 0.0, 0.5, 1.0), strict=True))
WHOLE = dict(zip(("center_x", "center_y", "half_width", "half_height"), one(0.0, 0.0, 1.0, 1.0), strict=True))
PLAIN = dict(zip(("brightness", "contrast", "saturation", "hue"), one(1.0, 1.0, 1.0, 0.0), strict=True))
COLORED = dict(zip(("brightness", "contrast", "saturation", "hue"), one(1.25, 1.0, 0.5, -0.1), strict=True))
DRAWS = Draws(torch.tensor([[kind("rotate"), kind("equalize")]]), torch.tensor([[27.0, 0.0]], dtype=torch.float64))
NO_DRAWS = Draws(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (None, "unchanged"),
        (DRAWS, "rotate 27, equalize"),
        (NO_DRAWS, "unchanged"),
        # Sampling a quarter of 64 pixels further to the right moves the picture 8 pixels to the left.
        (affine(x=0.25, y=-0.5), "0°, 1.00 x 1.00, shear 0.00, shift -8.0, 8.0 px"),
        (affine(rotation=0.5236), "30°, 1.00 x 1.00, shear 0.00, shift 0.0, 0.0 px"),
        (affine(rotation=0.5236, applied=False), "unchanged"),
        (StandardParams(**CROP, **PLAIN, flip=torch.tensor([False])), "crop of 32.0 x 32.0 px at 24.0, 0.0"),
        (
            StandardParams(**WHOLE, **COLORED, flip=torch.tensor([True])),
            "flipped, brightness x 1.25, saturation x 0.50, hue -36°",
        ),
        (StandardParams(**WHOLE, **PLAIN, flip=torch.tensor([False])), "unchanged"),
        (Boxes(*one(2, 6, 3, 10)), "box of 7 x 4 px at 3, 2"),
        (Boxes(*one(2, 2, 3, 10)), "unchanged"),
        (Pairs(*one(5, 0.75)), "75 % original, 25 % of image 5"),
        (Pairs(*one(5, 1.0)), "unchanged"),
        (CutPairs(*one(5, 0.75, 0, 16, 32, 64)), "25 % of image 5: box of 32 x 16 px at 32, 0"),
        (
            MixtureDraws(torch.tensor([[0.25, 0.75]]), torch.tensor([[kind("invert"), 0, 0]]), torch.zeros(1, 3)),
            "25 % original + 75 % (invert)",
        ),
        ((Boxes(*one(2, 6, 3, 10)), None, DRAWS), "box of 7 x 4 px at 3, 2; rotate 27, equalize"),
        ((None, NO_DRAWS), "unchanged"),
    ],
)
def test_words(params: Any, words: str) -> None:
    assert in_words(params, 0, SIZE) == words


@pytest.mark.parametrize("name", AUGMENTATIONS.names)
def test_every_augmentation_has_words(name: str) -> None:
    images = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    params = AUGMENTATIONS[name]().sample(images, torch.Generator().manual_seed(0))
    words = {in_words(params, image, (16, 16)) for image in range(40)}
    assert type(params).__name__ not in words
    assert (words == {"unchanged"}) == (name == "none")


def test_the_text_of_a_flipped_crop_says_so() -> None:
    params = RandomResizedCrop(flip=1.0).sample(torch.zeros(1, 3, 8, 8), torch.Generator().manual_seed(0))
    assert re.fullmatch(r"crop of \d x \d px at \d, \d, flipped", in_words(params, 0, (8, 8)))


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return package.data.load("digits")


def pixels(url: str) -> np.ndarray:
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_what_is_shown_is_what_the_words_say(digits: ImageSet) -> None:
    shown = subjects(digits, build_chain("mixup"), count=6, seed=1)
    originals = [pixels(subject.image).astype(float) for subject in shown]
    mixed = 0
    for place, subject in enumerate(shown):
        for draw in subject.draws:
            found = re.fullmatch(r"\d+ % original, (\d+) % of image (\d)", draw.words)
            share, partner = (int(found[1]) / 100, int(found[2])) if found else (0.0, place)
            expected = (1 - share) * originals[place] + share * originals[partner]
            assert np.abs(pixels(draw.image) - expected).max() <= 0.005 * 255 + 1
            mixed += partner != place
    assert mixed > 6


def test_images_come_from_all_domains_and_are_the_same_each_time(digits: ImageSet) -> None:
    shown = subjects(digits, build_chain("none"), count=4, seed=0)
    assert {subject.caption.split(", ")[1] for subject in shown} == set(digits.domain_names)
    for subject in shown:
        assert len(subject.draws) == 6
        assert {draw.words for draw in subject.draws} == {"unchanged"}
        assert {draw.image for draw in subject.draws} == {subject.image}
        assert (pixels(subject.image) == digits.images).all(axis=(1, 2, 3)).any()
    assert subjects(digits, build_chain("none"), count=4, seed=0) == shown
    assert subjects(digits, build_chain("none"), count=4, seed=1) != shown


def test_ranges_are_those_of_the_bound(digits: ImageSet) -> None:
    """Uniform in ± 15 degrees: 5 % lie below -13.5, give or take what 256 draws leave open."""
    found = {each.name: each for each in ranges(digits, RandomAffine(), seed=0)}
    turn = found["rotation, degrees"]
    assert turn.low == pytest.approx(-13.5, abs=1)
    assert turn.high == pytest.approx(13.5, abs=1)
    assert (found["shear"].low, found["shear"].high) == pytest.approx((0, 0), abs=1e-6)
    assert ranges(digits, build_chain("cutout"), seed=0) == []


def test_the_versions_of_an_image_are_those_of_one_epoch_after_another(digits: ImageSet) -> None:
    for subject in subjects(digits, build_chain("alternating_flip"), count=4, seed=0):
        words = [draw.words for draw in subject.draws]
        assert words in (3 * ["flipped", "unchanged"], 3 * ["unchanged", "flipped"])


@dataclass(frozen=True)
class Dimming(PerImage):
    factor: torch.Tensor


class Dim:
    def sample(self, images: torch.Tensor, generator: torch.Generator) -> Dimming:
        return Dimming(torch.rand(len(images), generator=generator))

    def apply(self, images: torch.Tensor, params: Dimming) -> torch.Tensor:
        return images * params.factor[:, None, None, None]


class Lightness(torch.nn.Module):
    """Bright above a half, dark below."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = 8 * (images.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-bright, bright], dim=1)


def gray(*levels: int, classes: tuple[int, ...]) -> ImageSet:
    images = np.stack([np.full((4, 4, 3), level, dtype=np.uint8) for level in levels])
    zeros, count = np.zeros(len(levels), dtype=np.int64), len(levels)
    names, paths, given = ("bright", "dark"), ("",) * count, np.full(count, -1, dtype=np.int8)
    return ImageSet("gray", images, np.array(classes), zeros, zeros.astype(np.uint64), names, ("gray",), paths, given)


def test_the_hardest_draws_are_the_darkest_of_what_was_recognized() -> None:
    # Class names are matched, not numbers: the data's first class is the classifier's second.
    data = gray(255, 204, 51, 0, classes=(0, 0, 0, 1))
    bright, dark = hardest(data, Dim(), Lightness(), ("dark", "bright"), seed=0)
    assert (bright.name, bright.tried) == ("bright", 2)  # the one of 51 is taken for dark as it is
    assert (dark.name, dark.tried) == ("dark", 1)
    for hard in bright.draws:
        before, after = (pixels(url).mean() / 255 for url in (hard.before, hard.after))
        assert hard.right_before == pytest.approx(1 / (1 + np.exp(-16 * (before - 0.5))), abs=1e-4)
        assert hard.right_after == pytest.approx(1 / (1 + np.exp(-16 * (after - 0.5))), abs=0.05)
        assert hard.predicted == "dark"
        assert hard.words == "Dimming"
    assert bright.draws[0].right_after <= bright.draws[1].right_after < 0.05
    assert dark.draws[0].right_after == dark.draws[0].right_before == pytest.approx(1 / (1 + np.exp(-8.0)))


def test_a_class_that_is_never_recognized_has_no_hardest_draw() -> None:
    bright, dark = hardest(gray(0, 0, classes=(0, 1)), Dim(), Lightness(), ("dark", "bright"), seed=0)
    assert (dark.name, dark.tried) == ("bright", 0) or (bright.name, bright.tried) == ("dark", 1)
    with pytest.raises(package.InputError, match="unknown class of this model 'bright'"):
        hardest(gray(0, classes=(0,)), Dim(), Lightness(), ("dark", "light"), seed=0)


BRIEF = (
    *("epochs=1", "epoch_steps=1", "refresh=false", "discriminator=non_saturating"),
    "augmentor.bounds.rotation=10",
)
"""Settings of an augmentor that is learned in a moment."""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("learned") / "digits"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the augmentor collapsed")  # after so little training it may
        package.augment_learn(data="digits", epochs=2, settings=BRIEF, out=out)
    return out


def page(path: Path) -> str:
    return re.sub(r"\s+", " ", path.read_text())


def test_the_page_of_a_run_holds_the_numbers_of_its_record(learned: Path) -> None:
    record = json.loads((learned / "record.json").read_text())
    settings, epochs = record["learned"]["settings"], record["learned"]["epochs"]
    assert (settings["discriminator"], settings["augmentor"]["bounds"]["rotation"]) == ("non_saturating", 10)
    assert len(epochs) == 2
    html, last = page(learned / "augmentation.html"), epochs[-1]["validation"]
    gain = last["entropy_after"] - last["entropy_before"]
    kept = last["recognized_after"] / last["recognized_before"]
    assert f"<td>{last['distance']:.2f}</td>" in html
    assert f"<td>{gain:+.2f} bits</td>".replace("-", "−") in html
    assert f"<td>{100 * kept:.1f} %</td>" in html
    assert f"{record['learned']['search_s']:.1f} s to learn" in html
    assert f"validation {100 * record['epochs'][0]['validation']['accuracy']:.1f} %" in html
    assert "1 without augmentation, 1 to learn it, 1 with it" in html
    assert "augmentor.bounds.rotation=10" in html
    assert record["run"] in html
    assert [title for title in ("adversarial loss of the augmentor G", "loss of the discriminator D") if title in html]
    assert html.count("<svg") == 9
    assert all(f"<h3>{name}<small> (" in html for name in "0123456789")
    said = "The augmentor collapsed" if record["learned"]["collapses"] else "The augmentor did not collapse"
    assert said in html


def test_collapses_are_said_at_the_top(learned: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    record = json.loads((learned / "record.json").read_text())
    record["learned"]["collapses"] = {"identity": "the classifier sees <nothing> new"}
    (copy / "record.json").write_text(json.dumps(record))
    (copy / "augmentor.safetensors").write_bytes((learned / "augmentor.safetensors").read_bytes())
    html = page(package.augment_show(what=str(copy)))
    assert "The augmentor collapsed: identity</strong>the classifier sees &lt;nothing&gt; new." in html
    assert html.index("The augmentor collapsed") < html.index("<main>")
    assert "did not collapse" not in html
    assert "The hardest transformations" not in html  # no model lies there


def test_what_is_said_at_the_end_of_learning(afield: Any, learned: Path) -> None:
    before = (learned / "augmentor.safetensors").stat().st_mtime_ns
    code, out, _ = afield("augment", "learn", "--epochs", 2, "--settings", *BRIEF, "--out", learned)
    assert code == 0
    assert (learned / "augmentor.safetensors").stat().st_mtime_ns == before
    record = json.loads((learned / "record.json").read_text())
    last = record["learned"]["epochs"][-1]["validation"]
    assert f"{record['learned']['search_s']:.1f} s of search" in out
    assert f"distance from the identity {last['distance']:.2f}" in out
    assert str(learned / "augmentation.html") in out
    assert all(f"collapsed ({name})" in out for name in record["learned"]["collapses"])


def test_a_page_of_a_file_and_of_a_chain(afield: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    AffineAugmentor(AugmentorConfig(probability=1.0)).write(tmp_path / "mine.safetensors")
    code, out, _ = afield("augment", "show", tmp_path / "mine.safetensors", "--out", tmp_path / "a.html", "--count", 5)
    assert (code, out.strip()) == (0, str(tmp_path / "a.html"))
    html = page(tmp_path / "a.html")
    assert "Strength of the transformations" in html
    assert "Training of the augmentation" not in html
    assert len(re.findall(r"px</small>", html)) == 5 + 4 * 6
    code, _, _ = afield("augment", "show", "cutout+trivialaugment", "--out", tmp_path / "b.html")
    assert code == 0
    html = page(tmp_path / "b.html")
    assert "Effect of <code>cutout+trivialaugment</code> on images of digits" in html
    assert re.search(r"<small>box of \d+ x \d+ px at \d+, \d+; \w+", html)


def test_nothing_is_fetched_and_no_id_clashes(learned: Path) -> None:
    html = page(learned / "augmentation.html")
    assert not re.search(r"https?://|@import|<script|<link", html)
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href)="([^"]*)', html))
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    again = learned.with_name("again.html")
    assert (
        package.augment_show(what=str(learned), out=again).read_bytes() == (learned / "augmentation.html").read_bytes()
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "trivialaugmen"), "unknown augmentation 'trivialaugmen'; did you mean 'trivialaugment'"),
        (("show", "runs/nowhere"), "runs/nowhere contains no learned augmentation"),
        (("show", "crop", "--count", 1), "--count must be a whole number between 2 and 100, got 1"),
        (("show", "nothing.safetensors"), "cannot read nothing.safetensors"),
        (("learn", "--augment", "crop"), "augment='crop' must include a name from `afield list augmentors`"),
        (("learn", "--settings", "sing=printed"), "unknown setting of learned in recipe 'erm': 'sing'; did you mean"),
        (("learn", "--settings", "sign"), "expected FIELD=VALUE"),
        (("learn", "--settings", "recognized=2"), "recognized must lie between 0 and 1, got 2"),
        (("learn", "--epochs", 1), "trains in stages and needs --epochs 2 or more"),
    ],
)
def test_mistakes_end_in_one_line(
    afield: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in refused(afield, "augment", *arguments)
    assert not list(tmp_path.rglob("*.html"))


def test_images_of_another_size_and_other_folders_are_refused(afield: Any, learned: Path, photos: Path) -> None:
    message = refused(afield, "augment", "show", learned, "--data", photos, "--image-size", 20)
    assert "images are 20 px wide" in message
    assert "16 px" in message
    assert "contains no learned augmentation" in refused(afield, "augment", "show", photos)


def test_browser_shows_the_page(learned: Path, browser: Any) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get((learned / "augmentation.html").as_uri())
        assert browser.execute_script(
            "document.querySelectorAll('details').forEach(each => each.open = true);"
            "const root = document.documentElement; return root.scrollWidth <= root.clientWidth"
        )
        assert min(browser.execute_script(CONTRASTS.replace(".tag", ".verdict strong"))) >= 4.5
        assert browser.execute_script(
            "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
    assert browser.get_log("browser") == []
