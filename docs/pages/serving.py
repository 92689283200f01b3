"""What a served and a quantized model cost."""

from __future__ import annotations

from afield.records import read_json
from pages.tables import ROOT, filled, table


def serving_page() -> str:
    """Requests a second and memory of the server."""
    found = read_json(ROOT / "results" / "serving.json")
    speed, memory, bad = found["speed"], found["rss_mib"], found["bad_input"]
    names = {
        "served_over_bare": "requests/s, over the bare session's images/s",
        "served_over_decoded": "requests/s, over the images/s of the loop that decodes",
        "cpu_over_bare": "CPU time of a request, over that of the bare session",
        "cpu_over_decoded": "CPU time of a request, over that of the loop that decodes",
    }
    rows = [
        (text, f"{row['median']:.2f} [{row['smallest']:.2f}, {row['largest']:.2f}]")
        for name, text in names.items()
        for row in (speed[name],)
    ]
    return filled(
        "serving.md.in",
        {
            "hardware": _hardware(found),
            "clients": str(speed["clients"]),
            "size": str(speed["image_size"]),
            "rounds": str(speed["rounds"]),
            "speed": table(("ratio", "median"), rows),
            "memory": " and ".join(f"{mib:.1f} MiB after {int(count):,} requests" for count, mib in memory.items()),
            "statuses": " or ".join(map(str, sorted(set(bad.values())))),
            "cases": str(len(bad)),
            "bad": ", ".join(bad),
        },
    )


def export_page() -> str:
    """The cost of 8-bit integers."""
    found = read_json(ROOT / "results" / "int8.json")
    low, high = (f"{100 * end:+.1f}" for end in found["difference_ci95"])
    return filled(
        "export.md.in",
        {
            "size": str(found["image_size"]),
            "n": f"{found['images']:,}",
            "int8_accuracy": f"{100 * found['int8_accuracy']:.1f}",
            "float_accuracy": f"{100 * found['float_accuracy']:.1f}",
            "difference": f"{100 * found['difference']:+.1f}",
            "low": low,
            "high": high,
            "agreement": f"{100 * found['agreement']:.1f}",
            "bytes": f"{100 * found['bytes'][1] / found['bytes'][0]:.0f} %",
            "time": f"{100 * found['cpu_time_over_float']:.0f} %",
            "hardware": _hardware(found),
        },
    )


def _hardware(found: dict) -> str:
    hardware = found["hardware"]
    return f"{hardware['cpu']}, {hardware['cores']} cores"
