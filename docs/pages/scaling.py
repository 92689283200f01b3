"""The cost of runs, and estimates for larger ones."""

from __future__ import annotations

from afield.records import read_json
from pages.large import trials
from pages.tables import ROOT, filled, table

PACS_IMAGES = 9991
LEAST_PASSES = 4
"""Passes over a batch that an operation on bytes needs: to floats, arithmetic, and back."""


def size_of(count: float) -> str:
    """A readable size: ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def time_of(seconds: float) -> str:
    """A readable duration: ``3.2 h``."""
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 86_400:.3g} days"


def scaling_page() -> str:
    """The cost of an image, a class, a run and a process, and estimates for larger runs."""
    names = (
        "scaling",
        "data",
        "jobs",
        "frozen",
        "loop",
        "installation",
        "inference",
        "startup",
        "frozen_former",
        "allocator",
        "decode",
        "augment",
    )
    found = {name: read_json(ROOT / "results" / f"{name}.json") for name in names}
    costs, data, hardware = found["scaling"], found["data"], found["scaling"]["hardware"]
    fits = {"image": "image", "class": "class", "class, a tenth seen": "class, Partial FC"}
    fitted = [
        (
            name,
            f"{costs[key]['sizes'][0]:,} to {costs[key]['sizes'][-1]:,}",
            f"{1e6 * costs[key]['each_s']:.3g}",
            f"{1e3 * costs[key]['fixed_s']:.3g}",
            f"{100 * costs[key]['worst']:.0f} %",
        )
        for key, name in fits.items()
    ]
    rows = [
        (
            name,
            *(f"{data[name]['images_per_second'][who]:,.0f}" for who in ("afield", "torchvision")),
            f"{data[name]['ratio']:.1f}",
            *(f"{data[name]['memory_MB'][who]:,.0f}" for who in ("afield", "torchvision")),
            f"{data[name]['decode_once_s']:.1f}",
        )
        for name in data
        if " px" in name
    ]
    jobs = [
        (f"`{name}`", f"{found['jobs']['seconds'][name]:.0f}", f"{speed:.2f}")
        for name, speed in found["jobs"]["speed"].items()
    ]
    decoding = data["224 px"]["decode_once_s"] / PACS_IMAGES
    plain, jitter = data["224 px"]["images_per_second"], data["224 px, color jitter"]["images_per_second"]
    measured = found["augment"]["operations, 224 px, batch 32"]
    passes = [measured[name]["passes"] for name in ("brightness", "contrast", "color", "hue")]
    fewest = LEAST_PASSES * len(passes) / sum(passes)
    shortest = 1 / plain["afield"] + (1 / jitter["afield"] - 1 / plain["afield"]) * fewest
    larger = [
        (
            name,
            f"{count:,}",
            size_of(count * 3 * side**2),
            time_of(count * decoding),
            time_of(count * costs["image"]["each_s"]),
            f"{max(1, round(90 * count * costs['image']['each_s'] / 86_400)):,}",
        )
        for name, count, side in (
            ("ImageNet-1k, 64 px", 1_281_167, 64),
            ("ImageNet-1k, 224 px", 1_281_167, 224),
            ("100 million, 64 px", 10**8, 64),
            ("100 million, 224 px", 10**8, 224),
        )
    ]
    installation = found["installation"]
    start = [
        (f"`{name}`", f"{1e3 * value:.0f}", f"{installation['over_python'][name]:.1f}")
        for name, value in installation["cpu_s"].items()
    ]
    inference, effect = found["inference"], found["inference"]["effect_bf16"]
    fast = [
        (
            task.replace(", 1 threads", ", 1 thread"),
            name,
            *(f"{inference[task][who]['images_per_cpu_s']:.0f}" for who in ("former", who)),
            *(f"{inference[task][who][ratio]:.1f}" for ratio in ("cpu", "wall")),
        )
        for task in inference
        if " threads" in task
        for who, name in (("ours", "32"), ("bf16", "bf16"))
    ]
    startup, former = found["startup"]["compare"], found["frozen_former"]
    kept = [
        (
            task,
            *(f"{row[kind]['images_per_cpu_second']:.0f}" for kind in ("default", "kept")),
            f"{row['speed_ratio']:.2f}",
            *(f"{row[kind]['peak_mib']:,.0f}" for kind in ("default", "kept")),
        )
        for task, row in found["allocator"]["tasks"].items()
    ]
    policies = [
        (
            setting,
            name,
            f"{row['afield']:,.0f}",
            f"{row.get('torchvision', row.get('pillow')):,.0f}",
            f"{row['ratio']:.1f}",
        )
        for setting in ("32 px, batch 128", "224 px, batch 32")
        for name, row in found["augment"][setting].items()
    ]
    operations = [
        (
            f"`{name}`",
            f"{row['afield']:,.0f}",
            f"{row['torchvision']:,.0f}",
            f"{row['ratio']:.1f}",
            f"{row['passes']:.1f}",
        )
        for name, row in measured.items()
    ]
    decode = found["decode"]
    reduced = decode["sizes"]["224"]["ours"]
    contestants = {
        "full": "Pillow, full size",
        "ours": "afield",
        "simplejpeg": "simplejpeg",
        "torchcodec": "TorchCodec",
    }
    decoders = [
        (
            f"{side} px",
            contestants[name],
            f"{row['ms']:.0f}",
            f"{row['full_over_this']:.2f}",
            f"{row['mean_difference']:.2f}",
            str(row["largest_difference"]),
        )
        for side, rows in decode["sizes"].items()
        for name, row in rows.items()
    ]
    parts = {
        "decode": table(
            ("resized to", "decoder", "CPU ms a file", "speed / Pillow", "mean difference", "largest difference"),
            decoders,
        ),
        "trials": trials(),
        "policies": table(("images", "augmentation", "afield, images/s", "torchvision, images/s", "ratio"), policies),
        "operations": table(("operation", "afield, images/s", "torchvision, images/s", "ratio", "passes"), operations),
        "decode_files": str(decode["files"]),
        **{f"decode_{which}": f"{decode['megapixels'][which]:.1f}" for which in ("smallest", "largest", "median")},
        "decode_features": f"{100 * reduced['features_difference']:.1f}",
        "decode_same": f"{reduced['same_class']} of {decode['files']}",
        "decode_probability": f"{reduced['largest_probability_difference']:.3f}",
        "kept": table(
            ("task", "default, images/CPU s", "kept, images/CPU s", "ratio", "default, peak MiB", "kept, peak MiB"),
            kept,
        ),
        "start_rounds": str(installation["rounds"]),
        "start": table(("process", "CPU time, ms", "over `python -c pass`"), start),
        "installed": f"{installation['bytes'] / 1e6:,.0f}",
        "packages": str(installation["packages"]),
        "largest": ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in [*installation["largest"].items()][:4]),
        "hardware": f"{hardware['cpu']}, {hardware['cores']} cores",
        "costs": table(("cost of", "measured sizes", "each, µs", "fixed, ms", "worst"), fitted),
        "run_bytes": size_of(costs["run_bytes"]),
        "bytes_an_image": size_of(costs["bytes_an_image"]),
        "process_start_s": f"{costs['process_start_s']:.1f}",
        "cores": str(data["cores"]),
        "jitter_64_cpu": f"{data['64 px, color jitter']['cpu_ratio']:.1f}",
        "jitter_passes": f"{sum(passes):.0f}",
        "jitter_224": f"{data['224 px, color jitter']['ratio']:.1f}",
        "jitter_224_limit": f"{1 / shortest / jitter['torchvision']:.1f}",
        "data": table(
            (
                "images",
                "afield, images/s",
                "torchvision, images/s",
                "ratio",
                "afield, MB",
                "torchvision, MB",
                "decoding, s",
            ),
            rows,
        ),
        "jobs": table(("`afield compare` on the embedded digits", "time, s", "speedup"), jobs),
        "jobs_former": f"{found['jobs']['to_former']['wall']:.2f}",
        "frozen_cold": f"{found['frozen']['cold_s']:.0f}",
        "frozen_warm": f"{found['frozen']['warm_median_s']:.0f}",
        "inference": table(
            ("task", "precision", "network, images/CPU s", "afield, images/CPU s", "ratio of CPU time", "of wall time"),
            fast,
        ),
        "difference": f"{inference['difference']:.0e}",
        "largest_feature": f"{inference['largest_feature']:.1f}",
        "bf16_n": str(effect["n"]),
        "bf16_same": f"{100 * effect['same_prediction']:.1f}",
        "bf16_accuracy": f"{100 * effect['accuracy_bf16']:.1f}",
        "exact_accuracy": f"{100 * effect['accuracy_32']:.1f}",
        "startup_former": f"{startup['former']['cpu_s']:.1f}",
        "startup": f"{startup['ours']['cpu_s']:.1f}",
        "torch": f"{found['startup']['torch']['ours']['cpu_s']:.1f}",
        "cold_wall": f"{former['to_former']['cold_wall']:.2f}",
        "cold_cpu": f"{former['to_former']['cold_cpu']:.2f}",
        "warm_wall": f"{former['to_former']['warm_wall']:.2f}",
        "warm_cpu": f"{former['to_former']['warm_cpu']:.2f}",
        "loop": " and ".join(f"{value:.2f} ({name})" for name, value in found["loop"]["time_over_bare"].items()),
        "larger": table(
            (
                "data set and cached size",
                "images",
                "bytes",
                "decoding, 2 cores",
                "one epoch, 1 core",
                "cores for 90 epochs a day",
            ),
            larger,
        ),
    }
    return filled("scaling.md.in", parts)
