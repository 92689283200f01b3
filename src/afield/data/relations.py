"""Domains and groups of images that are given by their paths, and groups of near duplicates."""

import re
from dataclasses import replace

import numpy as np

from afield.data.images import ImageSet
from afield.data.near_duplicates import near_duplicate_groups
from afield.errors import InputError
from afield.names import checked_name, shown

NEAR_DUPLICATES = "near-duplicates"


def with_domains(data: ImageSet, pattern: str) -> ImageSet:
    """The images with the domains that a pattern finds in their paths; see `_found`."""
    texts = [checked_name(text, "domain") for text in _found(data, "--domain-from", pattern)]
    names, domains = np.unique(texts, return_inverse=True)
    return replace(data, domains=domains.astype(np.int64), domain_names=tuple(names.tolist()))


def with_groups(data: ImageSet, how: str) -> ImageSet:
    """The images with groups of near duplicates (`NEAR_DUPLICATES`), or groups that a pattern finds in their paths."""
    if how == NEAR_DUPLICATES:
        return replace(data, groups=near_duplicate_groups(data))
    groups = np.unique(_found(data, "--group", how), return_inverse=True)[1]
    return replace(data, groups=groups.astype(np.int64))


def _found(data: ImageSet, option: str, pattern: str) -> list[str]:
    r"""The part of each path that is in the parentheses of a regular expression, such as ``(.*)_\d+\.jpg``.

    Raises:
        InputError: if the pattern is not valid, has no parentheses, or does not match a path.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"{option} {pattern}: not a regular expression: {error}") from None
    if not expression.groups:
        raise InputError(
            f"{option} {pattern}: neither a column of a table nor a pattern with parentheses, such as '^(.*)_[0-9]+'"
        )
    matches = [expression.search(path) for path in data.paths]
    if None in matches:
        path = data.paths[matches.index(None)]
        raise InputError(
            f"{option} {pattern}: does not match {matches.count(None):,} of {len(data):,} paths, such as {shown(path)}"
        )
    return ["\0".join(part or "" for part in match.groups()) for match in matches if match]
