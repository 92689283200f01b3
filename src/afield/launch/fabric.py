"""Creation of the fabric, which controls devices, precision and processes of a run."""

import warnings
from functools import cache
from typing import Any, Final

import torch

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
    if precision == "bf16" and fabric.device.type == "cpu" and not cpu_computes_bf16():
        warnings.warn(
            "this CPU has no instructions for bf16: a training step can take ten times as long as with --precision 32",
            stacklevel=2,
        )
    fabric.launch()
    return fabric


def cpu_computes_bf16() -> bool:
    """Whether the CPU has instructions with which PyTorch computes convolutions in bf16."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
