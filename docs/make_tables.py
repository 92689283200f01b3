"""Make tables and pages from registries and records, notebooks from tutorials; ``--check`` fails if one is stale."""

from __future__ import annotations

import sys
from pathlib import Path

from pages.algorithms import agreement_with_domainbed, algorithm_costs, compared_on_pacs
from pages.augmentation import augmentation_page
from pages.backbones import small_backbones
from pages.card import MODEL, model_card
from pages.confidence import confidence_page
from pages.fast_cifar import fast_cifar_table
from pages.frozen_heads import frozen_heads_page
from pages.label_a_new_place import label_a_new_place_page
from pages.labeling import labeling_page
from pages.learning_loss import learning_loss_figure
from pages.margins import margins_page
from pages.new_place import new_place_figure, new_place_page
from pages.notebooks import notebooks
from pages.parts import parts_page
from pages.penalties import risk_penalties
from pages.recipes import recipes_page
from pages.recommendations import differences_figure, recommendations_page
from pages.reproduction import reproduction_page
from pages.results import averages_table, results_page
from pages.scaling import scaling_page
from pages.serving import export_page, serving_page
from pages.settings import settings_table
from pages.sweep import sweep_page
from pages.tables import ROOT, between
from pages.unequal_classes import unequal_classes_page


def generated() -> dict[Path, str]:
    """The expected text of each file that has a generated part."""
    readme, guide, algorithms = ROOT / "README.md", ROOT / "docs" / "guide.md", ROOT / "docs" / "algorithms.md"
    return {
        **notebooks(),
        MODEL / "README.md": model_card(),
        readme: between(readme.read_text(), averages=averages_table()),
        guide: between(
            guide.read_text(),
            fast_cifar=fast_cifar_table(),
            small_backbones=small_backbones(),
            settings=settings_table(),
        ),
        ROOT / "docs" / "parts.md": parts_page(),
        ROOT / "docs" / "recipes.md": recipes_page(),
        ROOT / "docs" / "recommendations.md": recommendations_page(),
        ROOT / "docs" / "results.md": results_page(),
        ROOT / "docs" / "reproduction.md": reproduction_page(),
        ROOT / "docs" / "labeling.md": labeling_page(),
        ROOT / "docs" / "label_a_new_place.md": label_a_new_place_page(),
        ROOT / "docs" / "margins.md": margins_page(),
        ROOT / "docs" / "frozen_heads.md": frozen_heads_page(),
        ROOT / "docs" / "augmentation.md": augmentation_page(),
        ROOT / "docs" / "scaling.md": scaling_page(),
        ROOT / "docs" / "export.md": export_page(),
        ROOT / "docs" / "serving.md": serving_page(),
        ROOT / "docs" / "sweep.md": sweep_page(),
        ROOT / "docs" / "new_place.md": new_place_page(),
        ROOT / "docs" / "confidence.md": confidence_page(),
        ROOT / "docs" / "unequal_classes.md": unequal_classes_page(),
        ROOT / "docs" / "images" / "new_place.svg": new_place_figure(),
        ROOT / "docs" / "images" / "learning_loss.svg": learning_loss_figure(),
        ROOT / "docs" / "images" / "differences.svg": differences_figure(),
        algorithms: between(
            algorithms.read_text(),
            costs=algorithm_costs(),
            domainbed=agreement_with_domainbed(),
            compared=compared_on_pacs(),
            penalties=risk_penalties(),
        ),
    }


def main() -> None:
    """Write the pages, or check that they are up to date."""
    stale = {path: text for path, text in generated().items() if not path.exists() or path.read_text() != text}
    if "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(path.name for path in stale)}; run python docs/make_tables.py" if stale else 0)
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
