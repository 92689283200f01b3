"""Models on the Hugging Face hub: their address, and their download."""

import re
from pathlib import Path

from afield.errors import InputError, first_line

FILES = ("*model.json", "*.safetensors", "README.md")
"""What is downloaded. No file contains code."""

FORM = re.compile(r"hf:/{1,2}(?P<name>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?/?")


def model_folder(model: str | Path) -> Path:
    """The folder of a model. ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION`` is downloaded, unless it is cached.

    Raises:
        InputError: if the address has another form, or the model cannot be downloaded.
    """
    text = str(model).replace("\\", "/")
    if not text.startswith("hf:"):
        return Path(model)
    match = FORM.fullmatch(text)
    if match is None:
        raise InputError(f"a model of the hub is named hf://OWNER/NAME or hf://OWNER/NAME@REVISION, got {model}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(match["name"], revision=match["revision"], allow_patterns=[*FILES]))
    except Exception as error:  # the library raises errors of several other libraries
        raise InputError(f"cannot download hf://{match['name']}: {first_line(error)}") from None
