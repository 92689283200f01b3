"""Publication of a trained model on the Hugging Face hub."""

import shutil
import tempfile
from pathlib import Path

from afield.deploy.card import CARD, card_text, short_card
from afield.deploy.confidence import CONFIDENCE
from afield.deploy.hub import FORM, model_folder
from afield.deploy.saved_model import MEMBERS, MODEL, load, read_description
from afield.deploy.source import SOURCE
from afield.deploy.timm_files import CONFIG, REST, WEIGHTS, join, write_timm_files
from afield.errors import InputError, first_line
from afield.models import BackboneConfig
from afield.records import read_record, write_json
from afield.runs.execute import RECORD
from afield.training import checkpoint


def push(folder: Path, name: str, *, public: bool = False, license: str | None = None) -> str:
    """Upload a model to the hub, in timm's layout and with a model card. Returns the address of its page.

    The card is the ``README.md`` of the folder (`write_card`), or is written from its record. The token of
    ``hf auth login`` or ``HF_TOKEN`` is used.

    Args:
        folder: folder of the model.
        name: ``OWNER/NAME`` of the repository. It is created if it does not exist.
        public: whether a new repository is public; the visibility of an existing one is not changed.
        license: identifier of the license for the card, if there is no card yet.

    Raises:
        InputError: if the folder has no model, the name has another form, or the hub refuses.
    """
    if FORM.fullmatch(f"hf://{name}") is None or "@" in name:
        raise InputError(f"a repository of the hub is named OWNER/NAME, got {name!r}")
    folder = model_folder(folder)
    with tempfile.TemporaryDirectory() as scratch:
        stage(folder, Path(scratch), name, license)
        from huggingface_hub import HfApi

        api = HfApi(library_name="afield")
        try:
            api.create_repo(name, private=not public, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=scratch, commit_message="Upload a model of afield")
        except Exception as error:  # the library raises errors of several other libraries
            raise InputError(f"cannot upload to {name}: {first_line(error)}") from None
        return f"{api.endpoint}/{name}"


def stage(folder: Path, out: Path, name: str, license: str | None = None) -> None:
    """Write the files of the repository to a folder. See `push`."""
    model = load(folder)  # checks all files
    if MEMBERS in model.config:
        shutil.copytree(folder, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(CARD, ".*"))
        write_json(out / CONFIG, {"architecture": "afield_ensemble", "label_names": list(model.class_names)})
    else:
        description = read_description(folder / MODEL)
        for file in (MODEL, CONFIDENCE, SOURCE):
            if (folder / file).exists():
                shutil.copyfile(folder / file, out / file)
        tensors = join(folder) if (folder / REST).exists() else checkpoint.load(folder / WEIGHTS)[0]
        backbone = BackboneConfig(description.backbone.name, description.backbone.stem)
        write_timm_files(
            out,
            model.classifier,
            backbone,
            tensors,
            class_names=model.class_names,
            size=model.size,
            temperature=model.confidence.temperature,
        )
    if (folder / CARD).exists():
        shutil.copyfile(folder / CARD, out / CARD)
    elif (folder / RECORD).exists():
        record = read_record(folder / RECORD)
        text = card_text(name, f"hf://{name}", read_description(folder / MODEL), record, None, license)
        (out / CARD).write_text(text, encoding="utf-8")
    else:
        (out / CARD).write_text(short_card(name, f"hf://{name}", model.class_names, license), encoding="utf-8")
