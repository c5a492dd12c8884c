"""What the prepared model is."""

from adamolmo.files.schema import Document

MANIFEST = Document(
    "manifest",
    "results/model/manifest.json",
    "What the verified model is.",
    {
        "checksum": (str, "sha256 of the stacked weights and the configuration"),
        "num_parameters": (int, "parameters"),
        "num_blocks": (int, "transformer blocks"),
        "dtype": (str, "number format of the stored weights"),
    },
)
