"""The data sets of the field: where to get them, what they contain, and how they are read where they lie."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from afield.data.cache import Reading, cache_root, load_listing
from afield.data.images import ImageSet, pixel_digests
from afield.data.layout import list_folder
from afield.data.table import Row, load_table, read_table
from afield.errors import InputError, first_line
from afield.records import seed_for

ANGLES = (0, 15, 30, 45, 60, 75)
"""The domains of rotated MNIST, in degrees."""


@dataclass(frozen=True)
class Benchmark:
    """A published data set that lies in a folder of the user.

    Attributes:
        title: its usual name.
        source: where to get it.
        terms: license, or terms of use.
        reference: paper.
        folders: usual names of its folder.
        classes: number of classes.
        domains: number of images of each domain, or the number of domains.
        images: number of images.
        table: path of its table; empty for ``domain/class/`` folders.
        images_in: path of the folder of the images of the table.
        columns: see `afield.data.table.load_table`.
        rows: reads the rows of the table from the folder, if the table is not one of `afield.data.table.read_table`.
    """

    title: str
    source: str
    terms: str
    reference: str
    folders: tuple[str, ...]
    classes: int
    domains: Mapping[str, int] | int
    images: int
    table: str = ""
    images_in: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: Callable[[Path], list[Row]] | None = None

    def load(self, root: Path | None, reading: Reading) -> ImageSet:
        """Load the data set from its folder, by default in ``$AFIELD_DATA`` or ``data``.

        A note says in what it differs from the published data set.

        Raises:
            InputError: if there is no such folder, or its images are not valid.
        """
        folder = self._folder(root)
        if self.table:
            table = folder / self.table
            rows = self.rows(folder) if self.rows else read_table(table)
            found = load_table(table, rows, folder / self.images_in, self.columns, reading)
        else:
            self._check_domains(folder)
            found = load_listing(list_folder(folder, "domain/class", min_classes=reading.min_classes), reading)
        notes = (f"differs from {self.title}: {text}" for text in self.differ(found))
        return replace(found, notes=(*found.notes, *notes))

    @property
    def summary(self) -> str:
        """Number of images, classes and domains, one line."""
        domains = self.domains if isinstance(self.domains, int) else len(self.domains)
        counts = f"{self.images:,} images, {self.classes} classes, {domains} domain{'s' if domains > 1 else ''}"
        return f"{self.title.partition(',')[0]}: {counts}; read from your copy."

    def differ(self, data: ImageSet) -> Iterator[str]:
        """Yield the differences between data and the published data set."""
        sizes = np.bincount(data.domains, minlength=len(data.domain_names)).tolist()
        domains = dict(zip(data.domain_names, sizes, strict=True))
        counts = {"images": (len(data), self.images), "classes": (len(data.class_names), self.classes)}
        if isinstance(self.domains, int):
            counts["domains"] = (len(domains), self.domains)
        else:
            counts |= {f"images of {name}": (domains.get(name, 0), count) for name, count in self.domains.items()}
        for name, (has, published) in counts.items():
            if has != published:
                yield f"{has:,} {name} instead of {published:,}"

    def _check_domains(self, folder: Path) -> None:
        """Raise an error if a folder contains none of the published domains, such as the folder above theirs."""
        if isinstance(self.domains, int) or any((folder / name).is_dir() for name in self.domains):
            return
        inner = [folder / name for name in self.folders if (folder / name).is_dir()]
        nearest = f"; did you mean {inner[0]}?" if inner else ""
        raise InputError(f"{folder} contains no domain of {self.title} ({', '.join(self.domains)}){nearest}")

    def _folder(self, root: Path | None) -> Path:
        data = Path(os.environ.get("AFIELD_DATA", "data"))
        folders = [Path(root)] if root else [data / name for name in self.folders]
        for folder in folders:
            if (folder / self.table if self.table else folder).exists():
                return folder
        needed = f" with {self.table}" if self.table else ""
        raise InputError(
            f"{self.title} is not in {' or '.join(map(str, folders))}{needed}; get it from {self.source} "
            f"({self.terms}) and give its folder with --root"
        )


def _rows_of_mnist_m(folder: Path) -> list[Row]:
    return [
        {"path": f"mnist_m_{split}/{name}", "label": label, "split": split}
        for split in ("train", "test")
        for name, label in map(str.split, (folder / f"mnist_m_{split}_labels.txt").read_text().splitlines())
    ]


BENCHMARKS = {
    "pacs": Benchmark(
        "PACS",
        "https://dali-dl.github.io/project_iccv2017.html",
        "for research",
        "Li et al., Deeper, broader and artier domain generalization, ICCV 2017.",
        ("pacs", "PACS"),
        7,
        {"art_painting": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929},
        9991,
    ),
    "vlcs": Benchmark(
        "VLCS",
        "https://github.com/facebookresearch/DomainBed",
        "the terms of Caltech-101, LabelMe, SUN09 and VOC2007",
        "Fang et al., Unbiased metric learning, ICCV 2013.",
        ("vlcs", "VLCS"),
        5,
        {"Caltech101": 1415, "LabelMe": 2656, "SUN09": 3282, "VOC2007": 3376},
        10729,
    ),
    "office_home": Benchmark(
        "OfficeHome",
        "https://www.hemanthdv.org/officeHomeDataset.html",
        "for non-commercial research",
        "Venkateswara et al., Deep hashing network for unsupervised domain adaptation, CVPR 2017.",
        ("office_home", "OfficeHomeDataset_10072016", "OfficeHome"),
        65,
        {"Art": 2427, "Clipart": 4365, "Product": 4439, "Real World": 4357},
        15588,
    ),
    "terra_incognita": Benchmark(
        "TerraIncognita, as selected by DomainBed",
        "https://github.com/facebookresearch/DomainBed",
        "Caltech Camera Traps, CDLA-Permissive-1.0",
        "Beery et al., Recognition in terra incognita, ECCV 2018; Gulrajani and Lopez-Paz, ICLR 2021.",
        ("terra_incognita",),
        10,
        {"location_38": 9736, "location_43": 3970, "location_46": 5883, "location_100": 4741},
        24330,
    ),
    "domainnet": Benchmark(
        "DomainNet, cleaned",
        "https://ai.bu.edu/M3SDA/",
        "for research",
        "Peng et al., Moment matching for multi-source domain adaptation, ICCV 2019.",
        ("domain_net", "domainnet", "DomainNet"),
        345,
        {"clipart": 48129, "infograph": 51605, "painting": 72266, "quickdraw": 172500, "real": 172947, "sketch": 69128},
        586575,
    ),
    "iwildcam": Benchmark(
        "iWildCam2020-WILDS",
        "https://wilds.stanford.edu/datasets",
        "CDLA-Permissive-1.0",
        "Beery et al., The iWildCam 2020 competition dataset, 2020; Koh et al., WILDS, ICML 2021.",
        ("iwildcam_v2.0",),
        182,
        323,
        203029,
        table="metadata.csv",
        images_in="train",
        columns={
            "path": "filename",
            "label": "y",
            "domain": "location_remapped",
            "group": "sequence_remapped",
            "split": "",
        },
    ),
    "camelyon17": Benchmark(
        "Camelyon17-WILDS",
        "https://wilds.stanford.edu/datasets",
        "CC0",
        "Bandi et al., The CAMELYON17 challenge, IEEE TMI 2018; Koh et al., WILDS, ICML 2021.",
        ("camelyon17_v1.0",),
        2,
        5,
        455954,
        table="metadata.csv",
        columns={
            "path": (
                "patches/patient_{patient}_node_{node}/patch_patient_{patient}_node_{node}_x_{x_coord}_y_{y_coord}.png"
            ),
            "label": "tumor",
            "domain": "center",
            "group": "patient",
            "split": "",
        },
    ),
    "mnist_m": Benchmark(
        "MNIST-M",
        "http://yaroslav.ganin.net",
        "contains photographs of BSDS500, for non-commercial research",
        "Ganin et al., Domain-adversarial training of neural networks, JMLR 2016.",
        ("mnist_m",),
        10,
        1,
        68002,
        table="mnist_m_train_labels.txt",
        rows=_rows_of_mnist_m,
    ),
}


def load_rotated_mnist() -> ImageSet:
    """Load rotated MNIST: each of 70,000 digits is in one of six domains, in which all digits have the same rotation.

    The digits are downloaded once into the cache (CC BY-SA 3.0).

    References:
        Ghifary et al., "Domain generalization for object recognition with multi-task autoencoders", ICCV 2015.
    """
    import torchvision

    folder = str(cache_root() / "downloads")
    try:
        parts = [torchvision.datasets.MNIST(folder, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise InputError(f"--data rotated_mnist: the download failed ({first_line(error)})") from error
    digits, labels = (
        np.concatenate([np.asarray(getattr(part, name)) for part in parts]) for name in ("data", "targets")
    )
    domains = np.random.default_rng(seed_for("rotated mnist")).permutation(len(digits)) % len(ANGLES)
    images = np.stack(
        [
            np.asarray(Image.fromarray(digit).rotate(ANGLES[domain], Image.Resampling.BILINEAR))
            for digit, domain in zip(digits, domains, strict=True)
        ]
    )
    images = np.repeat(images[..., None], 3, axis=-1)
    return ImageSet(
        name="rotated_mnist",
        images=images,
        labels=labels.astype(np.int64),
        domains=domains.astype(np.int64),
        digests=pixel_digests(images),
        class_names=tuple(map(str, range(10))),
        domain_names=tuple(map(str, ANGLES)),
        paths=tuple(
            f"{ANGLES[domain]}/{label}/{i:05d}" for i, (domain, label) in enumerate(zip(domains, labels, strict=True))
        ),
        given=np.full(len(images), -1, dtype=np.int8),
        flippable=False,
    )
