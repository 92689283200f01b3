"""A stem for small images, which does not reduce the resolution."""

from torch import nn

from afield.errors import InputError


def use_small_stem(model: nn.Module, name: str) -> None:
    """Replace the first convolution by 3 x 3 with stride 1 and remove the max-pooling after it, in place.

    A larger kernel is cropped to its central 3 x 3 part, so that pretrained weights are kept.

    Raises:
        InputError: if the network does not begin with a convolution of RGB images (for example a transformer).
    """
    first = next(((path, m) for path, m in model.named_modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first[1].in_channels != 3 or first[1].kernel_size[0] not in (3, 5, 7):
        raise InputError(f"--stem small: backbone {name!r} does not begin with a 3, 5 or 7 pixel convolution")
    path, old = first
    new = nn.Conv2d(3, old.out_channels, 3, stride=1, padding=1, bias=old.bias is not None)
    edge = (old.kernel_size[0] - 3) // 2
    new.weight.data.copy_(old.weight.data[..., edge : edge + 3, edge : edge + 3])
    if old.bias is not None and new.bias is not None:
        new.bias.data.copy_(old.bias.data)
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)
    if isinstance(getattr(model, "maxpool", None), nn.Module):
        model.maxpool = nn.Identity()
