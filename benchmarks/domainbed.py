"""Do our algorithms take the same steps as those of DomainBed, from the same weights on the same batches?

    python benchmarks/domainbed.py --domainbed FOLDER [--out FILE] [--quick]

FOLDER is a copy of the DomainBed repository, whose code is imported. Both sides have the same small network in float64
(4 inputs, or images of 3 x 4 x 4; 8 features, 3 classes), batches of 8 examples of each domain, hyper-parameters and
random draws. Each algorithm is compared as it is and, if it deviates, once more without the deviations. The differences
are relative: of the loss and its terms, of the gradient, and of the weights after five steps (by the distance that they
moved). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import torch
from domainbed_cases import cases
from domainbed_steps import STEPS, Featurizer, ImageFeaturizer, compared
from torch import Tensor, nn

from afield.records import write_json
from afield.runs.provenance import provenance


def gradients_of_examples(fishr: Any, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """In place of the package backpack: the gradient of the head for each example, ``[B, ...]``, by autograd."""
    weights = dict(fishr.classifier.named_parameters())
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    rows = [torch.autograd.grad(loss, list(weights.values()), create_graph=True) for loss in losses]
    return {name: torch.stack(found).flatten(1) for name, found in zip(weights, zip(*rows, strict=True), strict=True)}


def commit(folder: Path) -> str | None:
    """The commit of a Git checkout; None if the folder is not one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if (folder / ".git").exists() and not done.returncode else None


def load(folder: Path) -> dict[str, Any]:
    """Import DomainBed, replace its network, and return what identifies the copy."""
    file = folder / "domainbed" / "algorithms.py"
    if not file.exists():
        sys.stderr.write(f"error: there is no copy of DomainBed in {folder}: it has no file domainbed/algorithms.py\n")
        raise SystemExit(2)
    sys.path.insert(0, str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == "domainbed"]:
        del sys.modules[name]
    sys.modules["backpack"] = types.SimpleNamespace(backpack=None, extend=lambda module: module)  # type: ignore
    sys.modules["backpack.extensions"] = types.SimpleNamespace(BatchGrad=None)  # type: ignore
    networks = importlib.import_module("domainbed.networks")
    networks.Featurizer = lambda shape, *_: Featurizer() if len(shape) == 1 else ImageFeaturizer()
    networks.Classifier = lambda inputs, outputs, is_nonlinear=False: nn.Linear(inputs, outputs)
    networks.MNIST_CNN = Featurizer  # URM accepts only networks of DomainBed
    algorithms = importlib.import_module("domainbed.algorithms")
    algorithms.backpack = True
    algorithms.Fishr._get_grads = gradients_of_examples
    content = file.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return {"commit": commit(folder), "blob of algorithms.py": blob}


def main() -> None:
    """Compare, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domainbed", type=Path, required=True, help="copy of the DomainBed repository")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    parser.add_argument("--algorithms", nargs="+", help="ours, by name; all by default")
    parser.add_argument("--quick", action="store_true", help="one step instead of five")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    copy = load(args.domainbed)
    if not torch.cuda.is_available():  # RDM and TRM move tensors to the graphics card
        Tensor.cuda = nn.Module.cuda = lambda self, *_: self
    rows = {}
    print(f"{'algorithm':16}{'in DomainBed':15}{'':9}{'loss':>9}{'gradient':>10}{'weights':>9}")
    for case in cases():
        if args.algorithms and case.ours not in args.algorithms:
            continue
        found = {
            name: compared(case, setup, 1 if args.quick else STEPS)
            for name, setup in (("same", case.same), ("aligned", case.aligned))
            if setup is not None
        }
        rows[case.ours] = {"theirs": case.theirs, **found, "deviations": case.deviations}
        for name, row in found.items():
            loss = max(row["terms"].values(), default=float("nan"))
            print(f"{case.ours:16}{case.theirs:15}{name:9}{loss:9.0e}{row['gradient']:10.0e}{row['weights']:9.0e}")
    result = {"benchmark": "domainbed", "domainbed": copy, "steps": STEPS, "rows": rows}
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
