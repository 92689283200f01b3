"""``afield push``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro


@dataclass(frozen=True)
class Push:
    """Upload a trained model to the Hugging Face hub.

    `afield` loads it as hf://OWNER/NAME, timm as hf-hub:OWNER/NAME. It has a model card: README.md of the folder, or
    one from the record. The token of `hf auth login` or HF_TOKEN is used.

    Attributes:
        model: Model folder, written by `afield train`.
        name: Repository as OWNER/NAME; it is created if it does not exist.
        public: Make a new repository public; by default, only its owner can see it.
        license: Identifier of the license of the model, such as apache-2.0, if the folder has no card yet.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield push runs/site-model my-team/site-model",
        "afield push runs/site-model my-team/site-model --public --license apache-2.0",
    )

    model: Annotated[Path, tyro.conf.Positional]
    name: Annotated[str, tyro.conf.Positional]
    public: bool = False
    license: str | None = None

    def run(self) -> str:
        """Upload the model and return the address of its page."""
        from afield.deploy.push import push

        return push(Path(self.model), self.name, public=self.public, license=self.license)
