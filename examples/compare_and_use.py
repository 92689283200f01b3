"""The complete workflow in Python: compare two recipes, train the better one, and predict with it."""

import sys
import tempfile
from pathlib import Path

import afield

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
runs = Path(tempfile.mkdtemp())

summary = afield.compare(data="digits", recipes=("erm", "flattening"), seeds=2, epochs=epochs, out=runs / "compare")
averages = {name: row.average.mean for name, row in summary.recipes.items()}
print(averages, "->", summary.reason)

winner = summary.recommended or "erm"
afield.train(data="digits", recipe=winner, epochs=epochs, out=runs / "model")

model = afield.load(runs / "model")
digits = afield.data.load("digits")
for prediction in model.predict(list(digits.images[:3])):
    print(prediction.label, f"{prediction.probability:.3f}")
