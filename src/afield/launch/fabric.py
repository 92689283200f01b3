"""Creation of the fabric, which controls devices, precision and processes of a run."""

from functools import cache
from typing import Any, Final

from afield.errors import InputError
from afield.fabric import Fabric

PRECISIONS: Final[dict[str, Any]] = {"32": "32-true", "bf16": "bf16-mixed", "16-mixed": "16-mixed"}
"""Names of Fabric by names of afield."""


@cache
def make_fabric(device: str, precision: str, devices: int = 1, nodes: int = 1) -> Fabric:
    """Create and launch a fabric. Equal settings give the same fabric.

    Args:
        device: auto, cpu, cuda or mps.
        precision: 32, bf16 or 16-mixed.
        devices: number of devices on each machine. With more than one, training is data-parallel.
        nodes: number of machines.

    Raises:
        InputError: if the devices are not available on this machine, or do not support the precision.
    """
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if devices * nodes > 1 else "auto",
            precision=PRECISIONS[precision],
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"--device {device} --devices {devices}: {error}") from None
    if precision == "16-mixed" and fabric.device.type == "cpu":
        raise InputError("--precision 16-mixed needs a GPU; use --precision bf16 on a CPU")
    fabric.launch()
    return fabric
