"""Creation of the fabric, which controls devices, precision and processes of a run."""

from functools import cache

from afield.errors import InputError
from afield.fabric import Fabric


@cache
def make_fabric(device: str, precision: str, devices: int = 1, nodes: int = 1) -> Fabric:
    """Create and launch a fabric. Equal settings give the same fabric.

    Args:
        device: auto, cpu, cuda or mps.
        precision: 32 or bf16.
        devices: number of devices on each machine. With more than one, training is data-parallel.
        nodes: number of machines.

    Raises:
        InputError: if the devices are not available on this machine.
    """
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if devices * nodes > 1 else "auto",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"--device {device} --devices {devices}: {error}") from None
    fabric.launch()
    return fabric
